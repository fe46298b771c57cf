package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/scenarios"
	"tcpbench/server"
)

// options are the flags of run.
type options struct {
	target      string
	duration    time.Duration
	count       uint64
	connections int
	rate        loadgen.Profile
	arrival     loadgen.Process
	seed        uint64
	threads     int
	sources     loadgen.Sources
	onExhausted loadgen.Policy
	timeout     time.Duration
	warmup      time.Duration

	closeBy      wire.Closer
	closeHow     wire.How
	closeWait    bool
	requestSize  uint32
	responseSize uint32
	payload      []byte
	payloadFile  string
	until        loadgen.Until
	connectOnly  bool

	ports       []uint16
	ipv6        bool
	serverLoops int
	backlog     int

	out    string
	format string
	quiet  bool
}

func newOptions() *options {
	return &options{
		arrival: loadgen.Constant, onExhausted: loadgen.CountExhausted,
		requestSize: 1, responseSize: 1, format: "text",
		until: loadgen.Until{Kind: loadgen.PeerFIN},
	}
}

func (o *options) register(c *cobra.Command) {
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.target, "target", "", "`HOST:PORT` to load, or several with commas; all addresses of a name are used (default a server of its own)")

	f.DurationVar(&o.duration, "duration", 10*time.Second, "how long to measure")
	f.Uint64Var(&o.count, "count", 0, "end after this many connections; alone, it takes the place of --duration")
	f.DurationVar(&o.warmup, "warmup", time.Second, "load that is not recorded, before the rest (0s with --count alone)")
	f.DurationVar(&o.timeout, "timeout", defaultTimeout, "bound of each stage: connect, exchange, close")

	f.IntVar(&o.connections, "connections", 64, "connections in flight (closed loop); with --rate the most that may be in flight (default then 10000)")
	f.Var(newValue(&o.rate, "", "RATE", loadgen.ParseProfile), "rate", "open loop: start this many connections per second, as in 500, 2.5 or 10k")
	f.Var(word(&o.arrival, loadgen.Constant, loadgen.Poisson), "arrival", "with --rate: equal or exponential distances")
	f.Uint64Var(&o.seed, "seed", 0, "of the random distances (default a new one, kept in the result)")
	f.IntVar(&o.threads, "threads", runtime.NumCPU(), "client threads, each with its own event loop")
	f.Var(newValue(&o.sources, "", "ADDRESSES", loadgen.ParseSources), "sources", "source addresses: commas, ranges a-b, CIDR (default the kernel's choice; to loopback 127.0.1.1-127.0.1.254)")
	f.Var(word(&o.onExhausted, loadgen.CountExhausted, loadgen.WaitExhausted, loadgen.StopExhausted), "on-exhausted", "when no port is free: count a failure, wait for one, or stop the run")

	f.Var(named(&o.closeBy, wire.CloserNames()), "close", "the side that closes first, and keeps TIME_WAIT")
	f.Var(named(&o.closeHow, wire.HowNames()), "close-how", "close in order, or abort (SO_LINGER 0)")
	f.BoolVar(&o.closeWait, "close-wait", false, "after its FIN the client waits for the server's, and measures it (histogram close)")
	f.Var(newValue(&o.requestSize, "1", "BYTES", parseSize), "request-size", "payload of the request, behind the 16-byte header")
	f.Var(newValue(&o.responseSize, "1", "BYTES", parseSize), "response-size", "payload of the response")
	f.Var(newValue(&o.payload, "", "TEXT", loadgen.ParsePayload), "payload", `send this instead of a header, to any server; escapes \r \n \t \\ \xNN`)
	f.StringVar(&o.payloadFile, "payload-file", "", "send the content of this `FILE`")
	f.Var(newValue(&o.until, "close", "bytes:N|close|REGEXP", loadgen.ParseUntil), "until", "with --payload: when the response is whole")
	f.BoolVar(&o.connectOnly, "connect-only", false, "connect and close, nothing is sent")

	f.Var(newValue(&o.ports, "", "PORTS", parsePorts), "ports", "ports of the run's own server, as in 9000-9063 (default one that is free)")
	f.BoolVarP(&o.ipv6, "ipv6", "6", false, "the run's own server listens on ::1")
	f.IntVar(&o.serverLoops, "server-loops", runtime.NumCPU(), "event loops of the run's own server")
	f.IntVar(&o.backlog, "backlog", 0, "accept queue of each of its listening sockets (default net.core.somaxconn)")

	f.StringVar(&o.out, "out", "", "save the result document to `FILE`")
	f.Var(newValue(&o.format, "text", "text|json", parseFormat), "format", "what to print on stdout")
	f.BoolVar(&o.quiet, "quiet", false, "no progress; with --out no summary either")
	for flag, words := range map[string][]string{
		"arrival": {"constant", "poisson"}, "on-exhausted": {"count", "wait", "stop"},
		"close": wire.CloserNames(), "close-how": wire.HowNames(),
		"format": {"text", "json"}, "until": {"close", "bytes:"},
	} {
		// The only error is a flag that does not exist.
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

func parseFormat(text string) (string, error) {
	if text != "text" && text != "json" {
		return "", errors.New("want text or json")
	}
	return text, nil
}

// plan makes a plan of the flags, or says which of them contradict each other.
func (o *options) plan(ctx context.Context, c *cobra.Command, name string) (scenarios.Plan, error) {
	set := c.Flags().Changed
	if err := o.check(set); err != nil {
		return scenarios.Plan{}, err
	}
	plan := scenarios.Plan{
		Name: name, Tool: tool(), Command: os.Args,
		Client: loadgen.Config{
			Process: loadgen.Closed, Connections: o.connections, Profile: o.rate, Seed: o.seed,
			Loops: o.threads, Sources: o.sources, OnExhausted: o.onExhausted,
			Warmup: o.warmup, Duration: o.duration, Count: o.count, Timeout: o.timeout,
		},
	}
	if set("count") && !set("duration") {
		plan.Client.Duration = 0
		if !set("warmup") {
			plan.Client.Warmup = 0
		}
	}
	if set("rate") {
		plan.Client.Process = o.arrival
		if !set("connections") {
			plan.Client.Connections = min(10000, scenarios.MostConnections())
		}
		if !set("seed") {
			plan.Client.Seed = rand.Uint64()
		}
	}
	if most := scenarios.MostConnections(); plan.Client.Connections > most {
		return plan, usage("--connections %d: this process may have %d open at most; raise the hard limit of descriptors (ulimit -Hn)",
			plan.Client.Connections, most)
	}
	if err := o.aim(ctx, &plan); err != nil {
		return plan, err
	}
	if err := o.reach(&plan); err != nil {
		return plan, err
	}
	lifecycle, err := o.lifecycle(set)
	if err != nil {
		return plan, err
	}
	plan.Client.Lifecycle = lifecycle
	plan.Scripted = lifecycle.Response.Kind == loadgen.Exactly && !lifecycle.ConnectOnly
	plan.Settings = o.settings(c.Flags(), &plan)
	return plan, nil
}

// check finds flags that are out of range or contradict each other.
func (o *options) check(set func(string) bool) error {
	raw := set("payload") || set("payload-file")
	for _, f := range []struct{ name, text string }{{"target", o.target}, {"payload-file", o.payloadFile}, {"out", o.out}} {
		if set(f.name) && f.text == "" { // as in --target "$HOST", of a variable that nobody set
			return usage("--%s is empty: give it a value, or leave it out", f.name)
		}
	}
	switch {
	case o.connections < 1:
		return usage("--connections %d: want 1 or more", o.connections)
	case o.threads < 1 || o.threads > 1024:
		return usage("--threads %d: want 1 to 1024", o.threads)
	case o.serverLoops < 1 || o.serverLoops > 256:
		return usage("--server-loops %d: want 1 to 256", o.serverLoops)
	case o.backlog < 0:
		return usage("--backlog %d: want 1 or more, or 0 for net.core.somaxconn", o.backlog)
	case set("duration") && o.duration <= 0:
		return usage("--duration %v: want more than 0, as in 10s", o.duration)
	case set("count") && o.count == 0:
		return usage("--count 0: want 1 or more; leave it out to be bounded by --duration")
	case o.warmup < 0:
		return usage("--warmup %v: want 0s or more", o.warmup)
	case o.timeout <= 0:
		return usage("--timeout %v: want more than 0, as in 5s", o.timeout)
	case set("arrival") && !set("rate"):
		return usage("--arrival %s says how the connections of an open loop are spaced: add --rate, as in --rate 1k", o.arrival)
	case set("seed") && !set("rate"):
		return usage("--seed is of the random distances in an open loop: add --rate, as in --rate 1k --arrival poisson")
	case set("payload") && set("payload-file"):
		return usage("--payload and --payload-file: give one of them")
	case raw && o.target == "":
		return usage("--payload is for a foreign server: add --target HOST:PORT; the run's own server knows only its header")
	case set("until") && !raw:
		return usage("--until tells when the answer to a --payload is whole: add --payload or --payload-file")
	case raw && (set("request-size") || set("response-size")):
		return usage("--request-size and --response-size are for a tcpbench server: leave them out with --payload")
	case o.connectOnly && (raw || set("request-size") || set("response-size")):
		return usage("--connect-only sends nothing: leave --payload, --request-size and --response-size out")
	case o.connectOnly && o.closeBy == wire.Server:
		return usage("--connect-only tells the server nothing, so it cannot close first: leave --close server out")
	case o.target != "" && (set("ports") || set("server-loops") || set("backlog") || o.ipv6):
		return usage("--ports, --server-loops, --backlog and --ipv6 are for the run's own server: leave them out with --target")
	case o.closeWait && (o.closeBy == wire.Server || o.closeHow == wire.RST):
		return usage("--close-wait waits behind the client's FIN: it needs --close client --close-how fin")
	}
	return nil
}

// aim fills in what to load.
func (o *options) aim(ctx context.Context, plan *scenarios.Plan) error {
	if o.target != "" {
		targets, err := scenarios.Resolve(ctx, o.target)
		if err != nil {
			return usage("--target: %w", err)
		}
		plan.Client.Targets = targets
		return nil
	}
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if o.ipv6 {
		host = netip.IPv6Loopback()
	}
	ports := o.ports
	if len(ports) == 0 {
		ports = []uint16{0}
	}
	plan.Server = &server.Config{
		Loops: o.serverLoops, Backlog: o.backlog,
		MaxRequest: maxMessage, MaxResponse: maxMessage,
	}
	for _, p := range ports {
		plan.Server.Addrs = append(plan.Server.Addrs, netip.AddrPortFrom(host, p))
	}
	return nil
}

// reach tells whether every target can be reached from a source of its family.
func (o *options) reach(plan *scenarios.Plan) error {
	targets := plan.Client.Targets
	if plan.Server != nil {
		targets = plan.Server.Addrs
	}
	for _, t := range targets {
		suits := func(source netip.Addr) bool { return source.Unmap().Is4() == t.Addr().Unmap().Is4() }
		if o.sources != nil && !slices.ContainsFunc(o.sources, suits) {
			return usage("--sources has no address of the family of target %s: add one, or leave --sources out", t.Addr())
		}
	}
	return nil
}

// lifecycle is what one connection does.
func (o *options) lifecycle(set func(string) bool) (loadgen.Lifecycle, error) {
	switch {
	case o.connectOnly:
		return loadgen.Lifecycle{ConnectOnly: true, CloseBy: o.closeBy, CloseHow: o.closeHow, CloseWait: o.closeWait}, nil
	case !set("payload") && !set("payload-file"):
		l := loadgen.Scripted(wire.Script{
			CloseBy: o.closeBy, CloseHow: o.closeHow, Exchanges: 1,
			RequestSize: o.requestSize, ResponseSize: o.responseSize,
		})
		l.CloseWait = o.closeWait
		return l, nil
	}
	l := loadgen.Lifecycle{
		Request: o.payload, Response: o.until,
		CloseBy: o.closeBy, CloseHow: o.closeHow, CloseWait: o.closeWait,
	}
	if o.payloadFile != "" {
		content, err := readPayload(o.payloadFile)
		if err != nil {
			return l, usage("--payload-file: %w: name a file that can be read", err)
		}
		l.Request = content
	}
	if l.Response.Kind == loadgen.PeerFIN {
		if set("close") && o.closeBy == wire.Client {
			return l, usage("--until close waits for the server to close: leave --close client out, or say when the answer is whole with --until bytes:N or a regular expression")
		}
		if o.closeWait {
			return l, usage("--close-wait waits behind the client's FIN, and with --until close the server closes first: leave --close-wait out, or say when the answer is whole with --until bytes:N or a regular expression")
		}
		l.CloseBy = wire.Server
	}
	return l, nil
}

// readPayload reads a file of at most maxMessage bytes.
func readPayload(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxMessage {
		return nil, fmt.Errorf("%s is no regular file of at most %d bytes", name, maxMessage)
	}
	return os.ReadFile(name)
}

// settings are all flags that decide the run, with the defaults that were chosen.
func (o *options) settings(f *pflag.FlagSet, plan *scenarios.Plan) map[string]string {
	settings := map[string]string{}
	f.VisitAll(func(flag *pflag.Flag) {
		switch flag.Name {
		case "help", "out", "format", "quiet", "target":
			return
		}
		if text := flag.Value.String(); text != "" {
			settings[flag.Name] = text
		}
	})
	c := &plan.Client
	settings["connections"] = fmt.Sprint(c.Connections)
	settings["duration"] = c.Duration.String()
	settings["warmup"] = c.Warmup.String()
	settings["close"] = c.Lifecycle.CloseBy.String()
	if c.Process == loadgen.Closed {
		delete(settings, "arrival")
		delete(settings, "seed")
	} else {
		settings["seed"] = fmt.Sprint(c.Seed)
	}
	return settings
}
