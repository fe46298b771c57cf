package sockets

import (
	"bytes"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// lateness is that of one arrival, in nanoseconds by where it comes from.
type lateness struct {
	starts int64 // the loop was at work when it was due, on earlier ones in the end
	wait   int64 // the loop was waiting, and came back late
	events int64 // the loop handled events first
	queued int64 // of all that, its thread was runnable and had no processor
}

func (l lateness) sum() int64 { return l.starts + l.wait + l.events }

// BenchmarkLag shows where the lateness of arrivals comes from; scripts/lag runs it against a
// server in a process of its own (LAG_TARGET). One operation is one arrival.
func BenchmarkLag(b *testing.B) {
	target := os.Getenv("LAG_TARGET")
	if target == "" {
		target = serveRaw(b).String()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	l, _ := manualLoop(b, loadgen.Config{
		Targets: to(netip.MustParseAddrPort(target)), Sources: sources(b, "127.0.1.1-127.0.1.254"), Process: pace.Constant, Profile: pace.Steady(10_000 * pace.PerSecond),
		Connections: 1000, Count: uint64(b.N),
		Lifecycle: loadgen.Scripted(wire.Script{Exchanges: 1, RequestSize: 1, ResponseSize: 1}),
	})
	all := make([]lateness, 0, b.N)
	delay := newRunDelay(b)
	gcBefore, before := collected(), delay.read()
	for !l.over() {
		wake := l.begin()
		slept := l.now
		n, err := l.wait(wake)
		if err != nil {
			b.Fatal(err)
		}
		due := l.arrivals.Due
		l.deal(n)
		if due > l.now { // it is punctual: what was waited before is of the past
			before = delay.read()
			continue
		}
		late := lateness{starts: max(0, slept-due), wait: max(0, l.turn.woke-max(due, slept))}
		if l.arrivals.Due == due { // it starts in the next turn, else after the event under way
			late.events = l.now - max(due, l.turn.woke)
		}
		late.queued = min(late.sum(), delay.read()-before)
		all = append(all, late)
	}
	h, err := l.hist[scheduleLag].Export()
	if err != nil || b.N < 1000 {
		return
	}
	slices.SortFunc(all, func(a, b lateness) int { return int(b.sum() - a.sum()) })
	worst := all[:min(len(all), b.N/100)]
	var sum lateness
	for _, w := range worst {
		sum.starts, sum.wait, sum.queued, sum.events = sum.starts+w.starts, sum.wait+w.wait, sum.queued+w.queued, sum.events+w.events
	}
	mean := func(ns int64) time.Duration { return time.Duration(ns / int64(max(1, len(worst)))).Round(100) }
	b.Logf("schedule_lag p50 %v, p99 %v, max %v; the worst %d on average %v: behind earlier ones %v, woken late %v, events first %v; %v of it in the run queue; %d collections",
		time.Duration(h.P50), time.Duration(h.P99), time.Duration(h.Max), len(worst),
		mean(sum.sum()), mean(sum.starts), mean(sum.wait), mean(sum.events), mean(sum.queued), collected()-gcBefore)
}

// collected is the number of the garbage collector's cycles so far.
func collected() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// runDelay reads the time for which the thread of its caller was runnable and had no processor.
type runDelay struct {
	fd     int
	buffer [64]byte
}

func newRunDelay(b *testing.B) *runDelay {
	fd, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Skip("NOT MEASURED: needs /proc/thread-self/schedstat: ", err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	return &runDelay{fd: fd}
}

// read returns nanoseconds: the second number of schedstat.
func (r *runDelay) read() (ns int64) {
	n, _, _ := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(r.fd), uintptr(unsafe.Pointer(&r.buffer)), uintptr(len(r.buffer)), 0, 0, 0)
	_, rest, _ := bytes.Cut(r.buffer[:n], []byte(" "))
	for i := 0; i < len(rest) && rest[i] != ' '; i++ {
		ns = 10*ns + int64(rest[i]-'0')
	}
	return ns
}
