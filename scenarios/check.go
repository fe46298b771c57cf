package scenarios

import (
	"fmt"
	"time"
)

// Misuse says that a workload contradicts itself: which flag, what is wrong, and what to do.
type Misuse struct {
	Flag string
	With string // the flag that it contradicts, if it is one
	err  error  // begins where the flag's name ends
}

func (m Misuse) Error() string { return "--" + m.Flag + m.err.Error() }
func (m Misuse) Unwrap() error { return m.err }

func misuse(flag, format string, args ...any) error {
	return Misuse{Flag: flag, err: fmt.Errorf(format, args...)}
}

// check finds flags that are out of range or contradict each other.
func (w *Workload) check() error {
	for _, f := range []struct{ name, text string }{{"target", w.target}, {"payload-file", w.raw.file}, {"congestion", w.options.Congestion}} {
		if w.set(f.name) && f.text == "" { // as in --target "$HOST", of a variable that nobody set
			return misuse(f.name, " is empty: give it a value, or leave it out")
		}
	}
	for _, check := range []func() error{w.checkRanges, w.checkRules} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkLoads finds what is wrong with the loads of a file alone, without a command line.
func (s *Scenario) checkLoads() error {
	for i := range s.Phases() {
		w, err := s.workload(i, nil)
		if err != nil {
			return err
		}
		if err := w.check(); err != nil {
			return s.locate(i, err)
		}
	}
	return nil
}

// mostConnections is more than a machine has memory for.
const mostConnections = 16 << 20

func (w *Workload) checkRanges() error {
	switch {
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
	case w.heartbeat != 0 && (w.heartbeat < 10*time.Millisecond || w.heartbeat > 10*time.Minute || w.heartbeat%(10*time.Millisecond) != 0):
		return misuse("heartbeat", " %v: want 10ms to 10m, in steps of 10ms", w.heartbeat)
	case len(w.raw.payload) > 1 && w.emptyRequest():
		return misuse("payload", " is empty: only a single exchange can be one in which the server speaks alone")
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
	case o.KeepAlive < 0 || o.KeepAlive%time.Second != 0:
		return misuse("keepalive", " %v: want whole seconds", o.KeepAlive)
	case o.KeepInterval < 0 || o.KeepInterval%time.Second != 0:
		return misuse("keepalive-interval", " %v: want whole seconds", o.KeepInterval)
	case o.KeepProbes < 0 || o.KeepProbes > 127:
		return misuse("keepalive-probes", " %d: want 1 to 127", o.KeepProbes)
	case s.KeepAlive < 0 || s.KeepAlive%time.Second != 0:
		return misuse("server-keepalive", " %v: want whole seconds", s.KeepAlive)
	case s.UserTimeout < 0:
		return misuse("server-user-timeout", " %v: want 1ms or more", s.UserTimeout)
	case s.DeferAccept < 0 || s.DeferAccept%time.Second != 0:
		return misuse("defer-accept", " %v: want whole seconds", s.DeferAccept)
	case o.UserTimeout < 0:
		return misuse("user-timeout", " %v: want 1ms or more", o.UserTimeout)
	case o.FinTimeout < 0 || o.FinTimeout%time.Second != 0 || o.FinTimeout > 2*time.Minute:
		return misuse("fin-timeout", " %v: want whole seconds, 2m at the most", o.FinTimeout)
	}
	return nil
}
