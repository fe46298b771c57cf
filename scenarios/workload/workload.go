// Package workload is a load in the words of its flags: what they take, which of them exclude each
// other, and the plan that follows from them.
package workload

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"tcpbench/internal/values"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

// Workload is a run in the words of its flags: who connects when, what one connection
// does, and against which server. Its fields are set through the flags that register
// makes, by a command line or a scenario file alike.
type Workload struct {
	name  string
	flags *pflag.FlagSet
	// presets are the flags that the scenario has set, and not the command line.
	presets map[string]bool
	// gone are the flags of the scenario that have given way to those of the command line.
	gone []string

	target      string
	duration    time.Duration
	count       uint64
	connections int
	rate        pace.Profile
	arrival     pace.Process
	burst       int
	every       time.Duration
	hold        time.Duration
	replace     bool
	seed        uint64
	threads     int
	sources     pace.Sources
	onExhausted loadgen.Policy
	timeout     time.Duration
	warmup      time.Duration

	openRate, exchangeRate, closeRate pace.Rate

	exchanges    int
	gap          time.Duration
	jitter       float64
	pipeline     bool
	linger       time.Duration
	heartbeat    time.Duration
	missed       int
	design       loadgen.Design
	phase        string
	closeBy      wire.Closer
	closeHow     wire.How
	closeWait    bool
	requestSize  uint32
	responseSize uint32
	checkContent bool
	raw          rawWords
	until        loadgen.Until
	connectOnly  bool

	options loadgen.Options
	observe bool
	bpf     bool

	ports         []uint16
	ipv4, ipv6    bool
	serverLoops   int
	backlog       int
	serverOptions server.Options
}

// The values of --heartbeat-phase.
const randomPhase, alignedPhase = "random", "aligned"

// blank returns a workload with the defaults of the flags.
func blank(name string) *Workload {
	return &Workload{
		name:     name,
		duration: 10 * time.Second, warmup: time.Second, timeout: 5 * time.Second,
		connections: 64, arrival: pace.Constant, onExhausted: loadgen.CountExhausted,
		exchanges: 1, missed: 3, design: loadgen.ClientPings, phase: randomPhase,
		requestSize: 1, responseSize: 1, until: loadgen.Until{Kind: loadgen.PeerFIN},
		threads: runtime.NumCPU(), serverLoops: runtime.NumCPU(), observe: true,
		presets: map[string]bool{},
	}
}

// register makes the flags of the workload. Their defaults are what it holds.
func (w *Workload) register(f *pflag.FlagSet) {
	w.flags = f
	f.StringVar(&w.target, "target", "", "`HOST:PORT` to load, or several with commas; all addresses of a name are used (default a server of its own)")

	f.Var(values.Time(&w.duration, time.Millisecond, values.Year, 1), "duration", "how long to measure; where the scenario holds a population, how long to hold it, as --hold")
	f.Var(values.Whole(&w.count, 1, 1e15), "count", "end after this many connections; alone, it takes the place of --duration")
	f.Var(values.Time(&w.warmup, 0, values.Year, 1), "warmup", "load that is not recorded, before the rest (0s with --count alone)")
	f.Var(values.Time(&w.timeout, time.Millisecond, values.Year, 1), "timeout", "bound of each stage: connect, exchange, close")

	f.Var(values.Whole(&w.connections, 1, mostConnections), "connections", fmt.Sprintf("connections in flight or held; with --rate the most that may be in flight (then %d, if so many descriptors are allowed)", mostSlots))
	f.Var(values.New(&w.rate, "", "RATE", pace.ParseProfile), "rate", "open loop: start this many connections per second: 500, 2.5, 10k, a ramp 1k..50k/30s, steps 1k,5k,20k@10s")
	f.Var(values.Word(&w.arrival, pace.Constant, pace.Poisson), "arrival", "with --rate: equal or exponential distances")
	f.Var(values.Whole(&w.burst, 1, mostConnections), "burst", "start this many connections at one instant")
	f.Var(values.Time(&w.every, 10*time.Millisecond, values.Year, 1), "every", "with --burst: again after this time, 0s for once")
	f.Var(values.Time(&w.hold, time.Millisecond, values.Year, 1), "hold", "open --connections once and keep them for this time, counted from when all are there")
	f.BoolVar(&w.replace, "replace", false, "with --hold: open a new connection for one that is lost")
	f.Var(values.New(&w.openRate, "", "RATE", pace.ParseRate), "open-rate", "open no more connections per second, in a closed loop or with --hold")
	f.Var(values.New(&w.exchangeRate, "", "RATE", pace.ParseRate), "exchange-rate", "make no more exchanges per second, first ones aside")
	f.Var(values.New(&w.closeRate, "", "RATE", pace.ParseRate), "close-rate", "close no more connections per second")
	f.Var(values.Seed(&w.seed), "seed", "of random distances, gaps and phases (default a new one, kept in the result)")
	f.BoolVar(&w.observe, "observe", w.observe, "watch the kernel meanwhile: its counters, sockets by state, ports, queues")
	f.BoolVar(&w.bpf, "bpf", false, "ask the kernel's tracepoints, too: changes of state, handshake times, resets and why; needs CAP_BPF and CAP_PERFMON")
	f.Var(values.Whole(&w.threads, 1, 1024), "threads", "client threads, each with its own event loop")
	f.Var(values.New(&w.sources, "", "ADDRESSES", pace.ParseSources), "sources", "source addresses: commas, ranges a-b, CIDR (default the kernel's choice; to a tcpbench server on loopback "+stage.DefaultLoopbackSources+")")
	f.Var(values.Word(&w.onExhausted, loadgen.CountExhausted, loadgen.WaitExhausted, loadgen.StopExhausted), "on-exhausted", "when no port is free: count a failure, wait for one, or stop the run")

	w.registerLifecycle(f)
	w.registerOptions(f)

	f.Var(values.New(&w.ports, "", "PORTS", values.Ports), "ports", "ports of the run's own server, as in 9000-9063 (default a free one that connect() does not choose)")
	f.BoolVarP(&w.ipv4, "ipv4", "4", false, "IPv4 only: of the addresses of a name, and for the run's own server")
	f.BoolVarP(&w.ipv6, "ipv6", "6", false, "IPv6 only, likewise: the run's own server listens on ::1")
	f.Var(values.Whole(&w.serverLoops, 1, 256), "server-loops", "event loops of the run's own server")
	f.Var(values.Whole(&w.backlog, 0, values.MaxBacklog), "backlog", "accept queue of each of its listening sockets (default net.core.somaxconn)")
	f.Var(values.Time(&w.serverOptions.DeferAccept, time.Second, time.Hour, time.Second), "defer-accept", "TCP_DEFER_ACCEPT of its sockets: accept a connection when it has sent data, or after this time")
	f.Var(values.Time(&w.serverOptions.KeepAlive, time.Second, server.MaxKeepAlive, time.Second), "server-keepalive", "SO_KEEPALIVE of its connections, as --keepalive")
	f.Var(values.Time(&w.serverOptions.UserTimeout, time.Millisecond, server.MaxUserTimeout, time.Millisecond), "server-user-timeout", "TCP_USER_TIMEOUT of its connections")
}

func (w *Workload) registerLifecycle(f *pflag.FlagSet) {
	f.Var(values.Whole(&w.exchanges, 1, math.MaxUint16), "exchanges", "requests on a connection, one after the other")
	f.Var(values.Time(&w.gap, 0, values.Year, 1), "gap", "pause between a response and the next request")
	f.Var(values.Share(&w.jitter), "jitter", "make gaps shorter or longer by up to this share of them")
	f.BoolVar(&w.pipeline, "pipeline", false, "send all --exchanges at once")
	f.Var(values.Time(&w.linger, 0, values.Year, 1), "stay", "stay established for this long behind the last exchange")
	f.Var(values.Time(&w.heartbeat, 10*time.Millisecond, 10*time.Minute, 10*time.Millisecond), "heartbeat", "exchange again and again, this far apart, for as long as the connection lives")
	f.Var(values.Whole(&w.missed, 1, 100), "missed", "beats in a row without an answer after which the peer counts as dead")
	f.Var(values.Word(&w.design, loadgen.ClientPings, loadgen.ServerListens, loadgen.ServerPings), "heartbeat-design", "who pings: the client, and the server answers; the client, and the server only listens and reaps; or the server")
	f.Var(values.Word(&w.phase, randomPhase, alignedPhase), "heartbeat-phase", "when in the interval a connection beats: at a random time of its own, or all at multiples of the interval since the start")

	f.Var(values.Named(&w.closeBy, wire.CloserNames()), "close", "the side that closes first, and keeps TIME_WAIT; both at once; or never: the server forgets to, and stays in CLOSE_WAIT")
	f.Var(values.Named(&w.closeHow, wire.HowNames()), "close-how", "close in order, abort (SO_LINGER 0), or half-close behind the last request")
	f.BoolVar(&w.closeWait, "close-wait", false, "after its FIN the client waits for the server's, and measures it (histogram close)")
	f.Var(values.New(&w.requestSize, "1", "BYTES", values.Size), "request-size", fmt.Sprintf("payload of the request, behind the %d-byte header", wire.HeaderSize))
	f.Var(values.New(&w.responseSize, "1", "BYTES", values.Size), "response-size", "payload of the response")
	f.BoolVar(&w.checkContent, "check-content", false, "have the server send a pattern, and check every byte: its value, its place, that none is missing or comes twice")
	f.Var(values.New(&w.until, "close", "bytes:N|close|REGEXP", loadgen.ParseUntil), "until", "with --payload: when the response is whole")
	w.registerRaw(f)
	f.BoolVar(&w.connectOnly, "connect-only", false, "connect and close, nothing is sent")
}

func (w *Workload) registerOptions(f *pflag.FlagSet) {
	o := &w.options
	f.BoolVar(&o.NoDelay, "nodelay", false, "TCP_NODELAY")
	f.BoolVar(&o.QuickAck, "quickack", false, "TCP_QUICKACK")
	f.BoolVar(&o.FastOpen, "fastopen", false, "TCP_FASTOPEN_CONNECT: the SYN carries the request where a cookie is known")
	f.BoolVar(&o.MPTCP, "mptcp", false, "Multipath TCP sockets; the result counts those that fall back to TCP")
	f.BoolVar(&o.ReuseAddr, "reuseaddr", false, "SO_REUSEADDR")
	f.BoolVar(&o.TakePort, "bind-port", false, "bind() without IP_BIND_ADDRESS_NO_PORT: takes the port from all destinations")
	f.Var(values.New(&o.PortRange, "", "LOW-HIGH", values.PortRange), "local-ports", "source ports (IP_LOCAL_PORT_RANGE)")
	f.BoolVar(&o.FixedPorts, "explicit-ports", false, "bind() every port of --local-ports in turn, instead of a search by the kernel")
	f.Var(values.Whole(&o.SYNCount, 0, 127), "syncnt", "TCP_SYNCNT: how often to send the SYN again (default net.ipv4.tcp_syn_retries)")
	f.Var(values.Whole(&o.TOS, 0, 255), "tos", "IP_TOS, or the traffic class of IPv6")
	f.StringVar(&o.Congestion, "congestion", "", "TCP_CONGESTION, as in bbr")
	f.Var(values.Time(&o.KeepAlive, time.Second, server.MaxKeepAlive, time.Second), "keepalive", "SO_KEEPALIVE: first probe after this time without a segment")
	f.Var(values.Time(&o.KeepInterval, time.Second, server.MaxKeepAlive, time.Second), "keepalive-interval", "time between two probes, of either side")
	f.Var(values.Whole(&o.KeepProbes, 0, 127), "keepalive-probes", "probes without an answer until ETIMEDOUT, of either side")
	f.Var(values.Time(&o.FinTimeout, time.Second, 2*time.Minute, time.Second), "fin-timeout", "TCP_LINGER2: how long a closed connection waits in FIN_WAIT_2 for the server's FIN (default net.ipv4.tcp_fin_timeout)")
	f.Var(values.Time(&o.UserTimeout, time.Millisecond, server.MaxUserTimeout, time.Millisecond), "user-timeout", "TCP_USER_TIMEOUT: how long sent data may stay unacknowledged")
}

// Words are the values of flags that take one of a few, for shell completion.
func Words() map[string][]string {
	return map[string][]string{
		"arrival": {"constant", "poisson"}, "on-exhausted": {"count", "wait", "stop"},
		"close": wire.CloserNames(), "close-how": wire.HowNames(),
		"until": {"close", "bytes:"}, "hello-until": {"bytes:"}, "heartbeat-design": {"ping", "listen", "server"}, "heartbeat-phase": {randomPhase, alignedPhase},
	}
}

// preset sets a flag as the scenario has it.
func (w *Workload) preset(name, value string) error {
	f := w.flags.Lookup(name)
	if f == nil {
		return fmt.Errorf("no such flag")
	}
	if value == "" && f.Value.Type() != "string" {
		return fmt.Errorf("no value: want one, or leave the flag out")
	}
	w.presets[name] = true
	return f.Value.Set(value)
}

// set tells whether the scenario or the command line has set one of the flags.
func (w *Workload) set(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return w.presets[name] || w.flags.Changed(name) })
}
