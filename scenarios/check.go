package scenarios

import (
	"fmt"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// Misuse says that a workload contradicts itself: which flag, what is wrong, and what to do.
type Misuse struct {
	Flag string
	err  error // begins where the flag's name ends
}

func (m Misuse) Error() string { return "--" + m.Flag + m.err.Error() }
func (m Misuse) Unwrap() error { return m.err }

func misuse(flag, format string, args ...any) error {
	return Misuse{flag, fmt.Errorf(format, args...)}
}

// check finds flags that are out of range or contradict each other.
func (w *Workload) check() error {
	for _, f := range []struct{ name, text string }{{"target", w.target}, {"payload-file", w.raw.file}, {"congestion", w.options.Congestion}} {
		if w.set(f.name) && f.text == "" { // as in --target "$HOST", of a variable that nobody set
			return misuse(f.name, " is empty: give it a value, or leave it out")
		}
	}
	for _, check := range []func() error{w.checkRanges, w.checkArrival, w.checkLifecycle, w.checkTarget} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// mostConnections is more than a machine has memory for.
const mostConnections = 16 << 20

func (w *Workload) checkRanges() error {
	switch {
	case w.bpf && !w.observe:
		return misuse("bpf", " adds to what is seen of the kernel: leave --observe=false out")
	case w.connections < 1 || w.connections > mostConnections:
		return misuse("connections", " %d: want 1 or more, and at most %d", w.connections, mostConnections)
	case w.threads < 1 || w.threads > 1024:
		return misuse("threads", " %d: want 1 to 1024", w.threads)
	case w.serverLoops < 1 || w.serverLoops > 256:
		return misuse("server-loops", " %d: want 1 to 256", w.serverLoops)
	case w.backlog < 0:
		return misuse("backlog", " %d: want 1 or more, or 0 for net.core.somaxconn", w.backlog)
	case w.set("duration") && w.duration <= 0:
		return misuse("duration", " %v: want more than 0, as in 10s", w.duration)
	case w.set("count") && w.count == 0:
		return misuse("count", " 0: want 1 or more; leave it out to be bounded by --duration")
	case w.warmup < 0:
		return misuse("warmup", " %v: want 0s or more", w.warmup)
	case w.timeout <= 0:
		return misuse("timeout", " %v: want more than 0, as in 5s", w.timeout)
	case w.burst < 0:
		return misuse("burst", " %d: want 1 or more", w.burst)
	case w.every < 0:
		return misuse("every", " %v: want more than 0s, or 0s for one burst", w.every)
	case w.set("hold") && w.hold <= 0:
		return misuse("hold", " %v: want more than 0, as in 30s", w.hold)
	case w.gap < 0:
		return misuse("gap", " %v: want 0s or more", w.gap)
	case w.jitter < 0 || w.jitter > 1:
		return misuse("jitter", " %v: want a share, 0 to 1", w.jitter)
	case w.linger < 0:
		return misuse("stay", " %v: want 0s or more", w.linger)
	case tooMany(w.exchanges):
		return misuse("exchanges", " %d: want 1 to 65535", w.exchanges)
	case w.missed < 1 || w.missed > 100:
		return misuse("missed", " %d: want 1 to 100", w.missed)
	}
	return w.checkOptions()
}

func (w *Workload) checkOptions() error {
	o, s := &w.options, &w.serverOptions
	switch {
	case o.SYNCount < 0 || o.SYNCount > 127:
		return misuse("syncnt", " %d: want 1 to 127, or 0 for net.ipv4.tcp_syn_retries", o.SYNCount)
	case o.TOS < 0 || o.TOS > 255:
		return misuse("tos", " %d: want 0 to 255", o.TOS)
	case o.KeepAlive < 0 || o.KeepInterval < 0 || o.KeepAlive%time.Second != 0 || o.KeepInterval%time.Second != 0:
		return misuse("keepalive", " %v and --keepalive-interval %v: want whole seconds", o.KeepAlive, o.KeepInterval)
	case o.KeepProbes < 0 || o.KeepProbes > 127:
		return misuse("keepalive-probes", " %d: want 1 to 127", o.KeepProbes)
	case o.KeepAlive == 0 && s.KeepAlive == 0 && w.set("keepalive-interval", "keepalive-probes"):
		return misuse("keepalive-interval", " and --keepalive-probes are of the probes: add --keepalive, as in --keepalive 5s")
	case s.KeepAlive < 0 || s.KeepAlive%time.Second != 0:
		return misuse("server-keepalive", " %v: want whole seconds", s.KeepAlive)
	case s.UserTimeout < 0:
		return misuse("server-user-timeout", " %v: want 1ms or more", s.UserTimeout)
	case s.DeferAccept < 0 || s.DeferAccept%time.Second != 0:
		return misuse("defer-accept", " %v: want whole seconds", s.DeferAccept)
	case o.UserTimeout < 0:
		return misuse("user-timeout", " %v: want 1ms or more", o.UserTimeout)
	case o.FixedPorts && o.PortRange == [2]int{}:
		return misuse("explicit-ports", " are taken from a range: add --local-ports, as in --local-ports 20000-29999")
	case o.TakePort && o.FixedPorts:
		return misuse("bind-port", " and --explicit-ports: give one of them")
	}
	return nil
}

func (w *Workload) checkArrival() error {
	switch {
	case w.set("arrival") && w.rate == nil:
		return misuse("arrival", " %s says how the connections of an open loop are spaced: add --rate, as in --rate 1k", w.arrival)
	case w.set("seed") && w.rate == nil && w.jitter == 0 && !w.set("payload", "payload-file"):
		return misuse("seed", " is of the random distances in an open loop, of --jitter and of random fields of a --payload: add --rate, as in --rate 1k --arrival poisson")
	case w.set("rate") && w.set("burst"):
		return misuse("rate", " and --burst are two arrival processes: give one of them")
	case w.set("hold") && w.set("rate", "burst"):
		return misuse("hold", " keeps a population, which --rate and --burst do not make: limit how fast it opens with --open-rate")
	case w.set("hold") && w.set("duration", "count"):
		return misuse("hold", " bounds the run: leave --duration and --count out")
	case w.set("every") && w.burst == 0:
		return misuse("every", " is the distance of bursts: add --burst, as in --burst 1000")
	case w.burst > 0 && w.every == 0 && w.set("count") && w.count > uint64(w.burst):
		return misuse("count", " %d is more than one burst of %d: add --every, as in --every 5s, or leave --count out", w.count, w.burst)
	case w.replace && w.hold == 0:
		return misuse("replace", " keeps a held population whole: add --hold, as in --hold 30s")
	case w.openRate > 0 && w.set("open-rate") && (w.rate != nil || w.burst > 0):
		return misuse("open-rate", " limits a closed loop or a held population: leave it out with --rate and --burst")
	}
	return nil
}

func (w *Workload) checkLifecycle() error {
	raw := w.set("payload", "payload-file")
	switch {
	case raw && w.set("request-size", "response-size"):
		return misuse("request-size", " and --response-size are for a tcpbench server: leave them out with --payload")
	case w.connectOnly && (raw || w.set("request-size", "response-size", "exchanges", "heartbeat")):
		return misuse("connect-only", " sends nothing: leave --payload, --request-size, --response-size, --exchanges and --heartbeat out")
	case w.connectOnly && w.closeBy != wire.Client:
		return misuse("connect-only", " tells the server nothing, so it cannot close first: leave --close server out")
	case w.closeWait && (w.closeBy != wire.Client || w.closeHow != wire.FIN):
		return misuse("close-wait", " waits behind the client's FIN: it needs --close client --close-how fin")
	case w.closeHow == wire.HalfClose && (w.closeBy != wire.Client || w.connectOnly || w.pipeline || w.heartbeat > 0):
		return misuse("close-how", " half is a client's FIN behind its last request: it needs --close client, and neither --connect-only, --pipeline nor --heartbeat")
	case (w.hold > 0 || w.linger > 0 || w.closeRate > 0) && (w.closeBy == wire.Server || w.closeBy == wire.Both || w.closeHow == wire.HalfClose):
		return misuse("close", " %s, %s: the close comes with the last response, so connections cannot stay or close at a rate: leave --hold, --stay and --close-rate out, or let the client close", w.closeBy, w.closeHow)
	case raw && (w.closeBy == wire.Both || w.closeBy == wire.Never):
		return misuse("close", " %s needs a tcpbench server, which is told to: leave --payload out", w.closeBy)
	case w.closeBy == wire.Never && w.closeHow != wire.FIN:
		return misuse("close", " never leaves the client's FIN unanswered: leave --close-how out")
	case w.exchanges > 1 && w.requestSize == 0 && !raw:
		return misuse("exchanges", " %d: a further request needs a byte by which the server knows it: make --request-size 1 or more", w.exchanges)
	case w.pipeline && (w.gap > 0 || raw || w.exchanges < 2):
		return misuse("pipeline", " sends --exchanges at once to a tcpbench server: give 2 or more of them, and neither --gap nor --payload")
	}
	if err := w.checkRaw(raw); err != nil {
		return err
	}
	return w.checkHeartbeat(raw)
}

func (w *Workload) checkHeartbeat(raw bool) error {
	if w.heartbeat == 0 {
		if w.set("missed", "heartbeat-design") {
			return misuse("missed", " and --heartbeat-design say how a heartbeat goes: add --heartbeat, as in --heartbeat 5s")
		}
		return nil
	}
	switch {
	case w.heartbeat < 10*time.Millisecond || w.heartbeat > 10*time.Minute || w.heartbeat%(10*time.Millisecond) != 0:
		return misuse("heartbeat", " %v: want 10ms to 10m, in steps of 10ms", w.heartbeat)
	case w.set("exchanges", "gap", "pipeline", "stay", "exchange-rate"):
		return misuse("heartbeat", " goes on for as long as the connection lives: leave --exchanges, --exchange-rate, --gap, --pipeline and --stay out")
	case w.design != loadgen.ClientPings && w.closeBy != wire.Client:
		return misuse("heartbeat-design", " %s: the client closes: leave --close out", w.design)
	case w.design == loadgen.ServerListens && w.set("response-size"):
		return misuse("heartbeat-design", " listen is a server that never answers: leave --response-size out")
	case raw && w.until.Kind == loadgen.PeerFIN:
		return misuse("heartbeat", " is answered again and again: say when an answer is whole with --until bytes:N or a regular expression")
	case raw && w.design != loadgen.ClientPings:
		return misuse("heartbeat-design", " %s needs a tcpbench server: leave it out with --payload", w.design)
	case w.requestSize == 0 && !raw:
		return misuse("heartbeat", " needs a byte to send: make --request-size 1 or more")
	case w.responseSize == 0 && !raw:
		return misuse("heartbeat", " needs an answer: make --response-size 1 or more")
	case w.hold == 0 || w.rate != nil:
		return misuse("heartbeat", " needs connections that stay: add --hold, as in --hold 30s, or use run long")
	}
	return nil
}

func (w *Workload) checkTarget() error {
	if w.target != "" && w.set("ports", "server-loops", "backlog", "ipv6", "defer-accept", "server-keepalive", "server-user-timeout") {
		return misuse("ports", ", --server-loops, --backlog, --ipv6, --defer-accept, --server-keepalive and --server-user-timeout are for the run's own server: leave them out with --target")
	}
	if w.target != "" && w.connections > MostConnections()*64 {
		return misuse("connections", " %d: more than 64 client processes hold; raise the hard limit of descriptors (ulimit -Hn)", w.connections)
	}
	return nil
}
