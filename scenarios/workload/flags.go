package workload

import (
	"fmt"
	"math"
	"net/netip"
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

// flag is one flag of a workload. A new flag takes an entry in the table, and the code that acts
// on its value.
type flag struct {
	group       Group
	name, short string
	value       pflag.Value
	help        string
	// experiment is the help of a flag that experiments take, too.
	experiment string
	// shared marks a flag that is the same in all phases of a scenario, because it belongs to the
	// server or to its addresses.
	shared bool
	// replaces names presets of a scenario that mean something else next to this flag.
	replaces []string
	excludes []exclusion
	needs    []need
	// check refuses a plan in which this flag and others make a size that is too large.
	check func(*stage.Plan) error
}

// Group is the heading under which help lists a flag.
type Group string

// The groups of the flags of a workload, in the order of the help.
const (
	Load       Group = "load"
	Connection Group = "connection"
	Server     Group = "server"
	Kernel     Group = "kernel"
)

// The values of --heartbeat-phase.
const randomPhase, alignedPhase = "random", "aligned"

const (
	beforePayload = "comes before a --payload to a foreign server: add --payload"
	orUntil       = "say when it is whole with --until bytes:N or a regular expression"
	orClient      = "let the client close"
)

// list returns all flags, by group.
func (w *Workload) list() (all []flag) {
	client, life, sockets := &w.plan.Client, &w.plan.Client.Lifecycle, &w.plan.Client.Options
	var (
		foreignPayload   = []term{on("payload"), on("payload-file")}
		severalExchanges = says("exchanges", func() bool { return w.exchanges > 1 })
		noRequest        = says("request-size", func() bool { return w.script.RequestSize == 0 })
		byClient         = says("close", func() bool { return life.CloseBy == wire.Client })
		notByClient      = says("close", func() bool { return life.CloseBy != wire.Client })
		toldToClose      = says("close", func() bool { return life.CloseBy == wire.Both || life.CloseBy == wire.Never })
		notFIN           = says("close-how", func() bool { return life.CloseHow != wire.FIN })
		untilClose       = func() bool { return w.until.Kind == loadgen.PeerFIN }
		half             = func() bool { return life.CloseHow == wire.HalfClose }
		notPinging       = func() bool { return w.beat.Design != loadgen.ClientPings }
		sendsPayload     = func() bool { return w.set("payload", "payload-file") }
		untilUnset       = func() bool { return !w.set("until") }
		held             = func() bool { return client.HoldFor > 0 }
		beating          = func() bool { return w.beat.Every > 0 }
		stays            = []term{on("hold"), on("stay"), on("close-rate")}
	)
	const staysWhy = "the close comes with the last response, so connections cannot stay or close at a rate"
	// Both flags of a request for a foreign server follow the same rules.
	ofPayload := []exclusion{
		against("sizes are for a tcpbench server", given("request-size"), given("response-size")),
		against("only a tcpbench server can be told to", toldToClose),
		against("the answer ends when the server closes (--until close)", byClient, on("close-wait")).when(untilUnset).or(orUntil),
	}
	needsTarget := needs("is for a foreign server: add --target HOST:PORT; the run's own server knows only its header", func() bool { return w.target != "" })
	needsKeepalive := needs("says how keepalive probes go: add --keepalive, as in --keepalive 5s", func() bool { return sockets.KeepAlive > 0 || w.server.KeepAlive > 0 })
	needsHeartbeat := needs("says how a heartbeat goes: add --heartbeat, as in --heartbeat 5s", beating)

	add := func(group Group, flags []flag) {
		for _, f := range flags {
			f.group = group
			all = append(all, f)
		}
	}
	ownServer := []flag{
		{name: "ports", shared: true, value: values.New(&w.ports, "", "PORTS", values.Ports), help: "ports of the run's own server, as in 9000-9063 (default a free one that connect() does not choose)", check: w.checkPorts},
	}
	for _, f := range w.server.Flags() {
		if f.Own != "" {
			ownServer = append(ownServer, flag{name: f.Own, shared: f.Shared, value: f.Value, help: f.Help})
		}
	}
	var ofServer []term
	for _, f := range ownServer {
		ofServer = append(ofServer, on(f.name))
	}
	add(Load, []flag{
		{name: "target", shared: true, value: values.Text(&w.target, "HOST:PORT"), help: "load this server, or several with commas; all addresses of a name are used (default a server of its own)",
			replaces: []string{"ipv4", "ipv6"}, excludes: []exclusion{against("these are for the run's own server", ofServer...)}},
		{name: "duration", value: values.Time(&client.Duration, time.Millisecond, values.Year, 1), help: "how long to measure; if the scenario holds a population, how long to hold it, like --hold",
			replaces: []string{"count"}},
		{name: "count", value: values.Whole(&client.Count, 1, 1e15), help: "end after this many connections; alone, it takes the place of --duration",
			replaces: []string{"duration"},
			excludes: []exclusion{against("one burst has fewer connections", on("burst")).when(w.moreThanABurst).or("add --every, as in --every 5s")}},
		{name: "warmup", value: values.Time(&client.Warmup, 0, values.Year, 1), help: "load before the measured time, which is not recorded (0s with --count alone)",
			needs: []need{needs("is load before arrivals are measured, and a held population (--hold) has none; its opening is reported on its own: leave it out, or limit how fast it opens with --open-rate", func() bool { return !held() })}},
		{name: "timeout", value: values.Time(&client.Timeout, time.Millisecond, values.Year, 1), help: "bound of each stage: connect, exchange, close"},
		{name: "connections", value: values.Whole(&client.Connections, 1, mostConnections), help: fmt.Sprintf("connections in flight or held; with --rate the most that may be in flight (then %d, if so many descriptors are allowed)", mostSlots), check: w.checkProcesses},
		{name: "rate", value: values.New(&client.Profile, "", "RATE", pace.ParseProfile), help: "open loop: start this many connections per second: 500, 2.5, 10k, a ramp 1k..50k/30s, steps 1k,5k,20k@10s",
			replaces: []string{"connections"}, // which then bounds the load, and is not the load itself
			excludes: []exclusion{against("these are two arrival processes", on("burst"))}},
		{name: "arrival", value: values.Word(&w.arrival, pace.Constant, pace.Poisson), help: "with --rate: constant or exponentially distributed intervals",
			needs: []need{needs("says how the connections of an open loop are spaced: add --rate, as in --rate 1k", func() bool { return client.Profile != nil })}},
		{name: "burst", value: values.Whole(&client.Burst, 1, mostConnections), help: "start this many connections at one instant", replaces: []string{"connections"}},
		{name: "every", value: values.Time(&client.Every, 10*time.Millisecond, values.Year, 1), help: "with --burst: repeat after this time; 0s for one burst",
			needs: []need{needs("is the interval between bursts: add --burst, as in --burst 1000", func() bool { return client.Burst > 0 })}},
		{name: "hold", value: values.Time(&client.HoldFor, time.Millisecond, values.Year, 1), help: "open --connections once and keep them for this time, counted from when all are established",
			excludes: []exclusion{
				against("a population that is kept has no arrivals", on("rate"), on("burst")).or("limit how fast it opens with --open-rate"),
				against("the time of --hold bounds the run", on("duration"), on("count")),
			}},
		{name: "replace", value: values.Switch(&client.Replace), help: "with --hold: open a new connection for each one that is lost",
			needs: []need{needs("keeps a held population whole: add --hold, as in --hold 30s", held)}},
		{name: "open-rate", value: values.New(&client.OpenRate, "", "RATE", pace.ParseRate), help: "open at most this many connections per second, in a closed loop or with --hold",
			excludes: []exclusion{against("only a closed loop or a held population opens as fast as it can", on("rate"), on("burst"))}},
		{name: "exchange-rate", value: values.New(&client.ExchangeRate, "", "RATE", pace.ParseRate), help: "make at most this many exchanges per second, not counting the first of each connection"},
		{name: "close-rate", value: values.New(&client.CloseRate, "", "RATE", pace.ParseRate), help: "close at most this many connections per second"},
		{name: "seed", value: values.Seed(&client.Seed), help: "of random intervals, gaps and phases (default a new one, kept in the result)"},
		{name: "threads", value: values.Whole(&client.Loops, 1, 1024), help: "client threads, each with its own event loop"},
		{name: "sources", value: values.New(&client.Sources, "", "ADDRESSES", pace.ParseSources), help: "source addresses: commas, ranges a-b, CIDR (default the kernel's choice; to a tcpbench server on loopback " + stage.DefaultLoopbackSources + ")", check: w.checkPairs},
		{name: "on-exhausted", value: values.Word(&client.OnExhausted, loadgen.CountExhausted, loadgen.WaitExhausted, loadgen.StopExhausted), help: "when no port is free: count a failure, wait for one, or stop the run"},
		{name: "ipv4", short: "4", shared: true, value: values.Switch(&w.ipv4), help: "use only IPv4 addresses of a name, and for the run's own server",
			experiment: "make connections of IPv4 (default)",
			excludes: []exclusion{
				against("a run is told one family, or uses all addresses of a name", on("ipv6")),
				against("no source is of IPv4", says("sources", func() bool { return !w.hasSource(netip.Addr.Is4) })),
				against("the target has an address of IPv6", says("target", func() bool { return w.hasTarget(netip.Addr.Is6) })),
			}},
		{name: "ipv6", short: "6", shared: true, value: values.Switch(&w.ipv6), help: "use only IPv6 addresses; the run's own server listens on ::1",
			experiment: "make connections of IPv6",
			excludes: []exclusion{
				against("no source is of IPv6", says("sources", func() bool { return !w.hasSource(netip.Addr.Is6) })),
				against("the target has an address of IPv4", says("target", func() bool { return w.hasTarget(netip.Addr.Is4) })),
			}},
	})
	add(Connection, []flag{
		{name: "exchanges", value: values.Whole(&w.exchanges, 1, math.MaxUint16), help: "requests on a connection, one after the other",
			excludes: []exclusion{against("the server knows a further request by its bytes", noRequest).when(severalExchanges.when).or("make --request-size 1 or more")}},
		{name: "gap", value: values.Time(&life.Gap, 0, values.Year, 1), help: "pause between a response and the next request"},
		{name: "jitter", value: values.Share(&life.Jitter), help: "vary each gap by up to this share of it"},
		{name: "pipeline", value: values.Switch(&life.Pipeline), help: "send all --exchanges at once", check: w.checkPipeline,
			excludes: []exclusion{against("all --exchanges are sent at once, to a tcpbench server", slices.Concat(foreignPayload, []term{on("gap")})...)},
			needs:    []need{needs("sends all --exchanges at once: give 2 or more of them", severalExchanges.when)}},
		{name: "stay", value: values.Time(&life.Stay, 0, values.Year, 1), help: "stay established for this long after the last exchange"},
		{name: "heartbeat", value: values.Time(&w.beat.Every, 10*time.Millisecond, 10*time.Minute, 10*time.Millisecond), help: "repeat the exchange at this interval, for as long as the connection lives",
			excludes: []exclusion{
				against("a heartbeat goes on for as long as the connection lives", on("exchanges"), on("exchange-rate"), on("gap"), on("pipeline"), on("stay")),
				against("a heartbeat is answered again and again, and this answer ends when the server closes", says("payload", untilUnset), says("payload-file", untilUnset), says("until", untilClose)).or(orUntil),
				against("a beat and its answer need a byte", noRequest, says("response-size", func() bool { return w.script.ResponseSize == 0 })).or("make the size 1 or more"),
			},
			needs: []need{needs("needs connections that stay: add --hold, as in --hold 30s, or use run long", held)}},
		{name: "missed", value: values.Whole(&w.beat.Missed, 1, 100), help: "beats in a row without an answer after which the peer counts as dead", needs: []need{needsHeartbeat}},
		{name: "heartbeat-design", value: values.Word(&w.beat.Design, loadgen.ClientPings, loadgen.ServerListens, loadgen.ServerPings), help: "ping: the client pings and the server answers; listen: the client pings, the server listens and reaps silent clients; server: the server pings",
			needs: []need{needsHeartbeat},
			excludes: []exclusion{
				against("only a tcpbench server can be told to", foreignPayload...).when(notPinging),
				against("the client closes", notByClient).when(notPinging),
				against("the server never answers", given("response-size")).when(func() bool { return w.beat.Design == loadgen.ServerListens }),
			}},
		{name: "heartbeat-phase", value: values.Word(&w.phase, randomPhase, alignedPhase), help: "when a connection beats: at a random time in the interval, or all at multiples of the interval since the start",
			needs: []need{needsHeartbeat},
			excludes: []exclusion{against("the server spreads its own pings", says("heartbeat-design", func() bool { return w.beat.Design == loadgen.ServerPings })).
				when(func() bool { return w.phase == alignedPhase })}},
		{name: "close", value: values.Named(&life.CloseBy, wire.CloserNames()), help: "the side that closes first and keeps TIME_WAIT; both at once; or never: the server forgets to close and stays in CLOSE_WAIT",
			excludes: []exclusion{
				against("it is the client's FIN that the server leaves unanswered", notFIN).when(func() bool { return life.CloseBy == wire.Never }),
				against(staysWhy, stays...).when(func() bool { return life.CloseBy == wire.Server || life.CloseBy == wire.Both }).or(orClient),
			}},
		{name: "close-how", value: values.Named(&life.CloseHow, wire.HowNames()), help: "close by FIN, abort by RST (SO_LINGER 0), or half-close right after the last request",
			excludes: []exclusion{
				against("the client sends its FIN right after its last request, and needs one", notByClient, on("connect-only"), on("pipeline"), on("heartbeat")).when(half).or(orClient),
				against(staysWhy, stays...).when(half).or(orClient),
			}},
		{name: "close-wait", value: values.Switch(&life.CloseWait), help: "after its FIN the client waits for the server's, and measures the wait (histogram close)",
			excludes: []exclusion{against("the client waits after its own FIN", notByClient, notFIN).or("let the client close, by FIN")}},
		{name: "request-size", value: values.New(&w.script.RequestSize, "1", "BYTES", values.Size), help: fmt.Sprintf("payload of the request, after the %d-byte header", wire.HeaderSize)},
		{name: "response-size", value: values.New(&w.script.ResponseSize, "1", "BYTES", values.Size), help: "payload of the response"},
		{name: "check-content", value: values.Switch(&life.Pattern), help: "have the server send a pattern, and check that every byte comes once, at its place",
			excludes: []exclusion{against("only the responses of a tcpbench server have a known content", slices.Concat(foreignPayload, []term{on("connect-only"), on("heartbeat")})...)}},
		{name: "payload", value: &requests{w: w}, help: `send this instead of a header, to any server; escapes \r \n \t \\ \xNN, fields {{n:8}} {{rand:8}} {{hex:16}}; given again, or after \|, another request in rotation`,
			needs: []need{needsTarget, needs("is empty: only a single exchange can be one in which the server speaks alone", func() bool { return len(w.payload) == 1 }).when(w.emptyRequest)},
			excludes: slices.Concat([]exclusion{
				against("one request is sent", on("payload-file")),
				against("the server speaks alone in a single exchange only", severalExchanges, on("heartbeat")).when(w.emptyRequest),
			}, ofPayload)},
		{name: "payload-file", value: values.Text(&w.payloadFile, "FILE"), help: "send the content of this file, byte by byte", needs: []need{needsTarget}, excludes: ofPayload},
		{name: "payload-lines", value: values.Switch(&w.payloadLines), help: "each line of --payload-file is a request like --payload, sent in rotation",
			needs: []need{needs("are of a file: add --payload-file FILE", func() bool { return w.set("payload-file") })}},
		{name: "until", value: values.New(&w.until, "close", "bytes:N|close|REGEXP", loadgen.ParseUntil), help: "with --payload: when the response is whole",
			needs:    []need{needs("tells when the answer to a --payload is whole: add --payload or --payload-file", sendsPayload)},
			excludes: []exclusion{against("the answer ends when the server closes", byClient, on("close-wait")).when(untilClose).or(orUntil)}},
		{name: "hello", value: values.New(&w.hello.Request, "", "TEXT", loadgen.ParsePayload), help: "send this once, before the first --payload of a connection",
			needs: []need{needs(beforePayload, sendsPayload),
				needs("has an answer: say when it is whole with --hello-until bytes:N or a regular expression", func() bool { return w.set("hello-until") })}},
		{name: "hello-until", value: values.New(&w.hello.Response, "", "bytes:N|REGEXP", parseHelloUntil), help: "when the answer to --hello is whole; without --hello, wait for a greeting that ends so",
			needs: []need{needs(beforePayload, sendsPayload)}},
		{name: "no-preflight", value: values.Switch(&w.noPreflight), help: "start the load of a --payload without trying one exchange first",
			needs: []need{needs("leaves out the exchange that is tried before the load of a --payload: add --payload, or leave it out", sendsPayload)}},
		{name: "connect-only", value: values.Switch(&life.ConnectOnly), help: "connect and close without sending anything",
			excludes: []exclusion{
				against("nothing is sent", slices.Concat(foreignPayload, []term{given("request-size"), given("response-size"), on("exchanges"), on("heartbeat")})...),
				against("the server is told nothing, so it cannot close first", notByClient),
			}},

		{name: "nodelay", value: values.Switch(&sockets.NoDelay), help: "TCP_NODELAY"},
		{name: "quickack", value: values.Switch(&sockets.QuickAck), help: "TCP_QUICKACK"},
		{name: "fastopen", shared: true, value: values.Switch(&sockets.FastOpen), help: "TCP_FASTOPEN_CONNECT: the SYN carries the request if a cookie is known"},
		{name: "mptcp", shared: true, value: values.Switch(&sockets.MPTCP), help: "Multipath TCP sockets; the result counts those that fall back to TCP"},
		{name: "reuseaddr", value: values.Switch(&sockets.ReuseAddr), help: "SO_REUSEADDR"},
		{name: "bind-port", value: values.Switch(&sockets.TakePort), help: "bind() without IP_BIND_ADDRESS_NO_PORT: takes the port from all destinations",
			excludes: []exclusion{against("these are two ways to bind a port", on("explicit-ports"))}},
		{name: "local-ports", value: values.New(&sockets.PortRange, "", "LOW-HIGH", values.PortRange), help: "source ports (IP_LOCAL_PORT_RANGE)"},
		{name: "explicit-ports", value: values.Switch(&sockets.FixedPorts), help: "bind() every port of --local-ports in turn, past those in use, instead of a search by the kernel",
			needs: []need{needs("takes ports from a range: add --local-ports, as in --local-ports 20000-29999", func() bool { return sockets.PortRange != [2]int{} })}},
		{name: "syncnt", value: values.Whole(&sockets.SYNCount, 0, 127), help: "TCP_SYNCNT: how often to send the SYN again (default net.ipv4.tcp_syn_retries)"},
		{name: "tos", value: values.Whole(&sockets.TOS, 0, 255), help: "IP_TOS, or the traffic class of IPv6"},
		{name: "congestion", value: values.Text(&sockets.Congestion, "NAME"), help: "TCP_CONGESTION, as in bbr"},
		{name: "keepalive", value: values.Time(&sockets.KeepAlive, time.Second, server.MaxKeepAlive, time.Second), help: "SO_KEEPALIVE: first probe after this time without a segment"},
		{name: "keepalive-interval", value: values.Time(&sockets.KeepInterval, time.Second, server.MaxKeepAlive, time.Second), help: "time between two probes, of either side", needs: []need{needsKeepalive}},
		{name: "keepalive-probes", value: values.Whole(&sockets.KeepProbes, 0, 127), help: "probes without an answer until ETIMEDOUT, of either side", needs: []need{needsKeepalive}},
		{name: "fin-timeout", value: values.Time(&sockets.FinTimeout, time.Second, 2*time.Minute, time.Second), help: "TCP_LINGER2: how long a closed connection waits in FIN_WAIT_2 for the server's FIN (default net.ipv4.tcp_fin_timeout)"},
		{name: "user-timeout", value: values.Time(&sockets.UserTimeout, time.Millisecond, server.MaxUserTimeout, time.Millisecond), help: "TCP_USER_TIMEOUT: how long sent data may stay unacknowledged"},
	})
	add(Server, ownServer)
	add(Kernel, []flag{
		{name: "observe", value: values.Switch(&w.plan.Observe), help: "watch the kernel during the run: its counters, sockets by state, ports, queues"},
		{name: "bpf", value: values.Switch(&w.plan.Trace), help: "also ask the kernel's tracepoints: changes of state, handshake times, resets and why; needs CAP_BPF and CAP_PERFMON",
			experiment: "also ask the kernel's tracepoints: changes of state, resets and why; needs CAP_BPF and CAP_PERFMON",
			excludes:   []exclusion{against("the tracepoints add to what is seen of the kernel", says("observe", func() bool { return !w.plan.Observe }))}},
	})
	return all
}
