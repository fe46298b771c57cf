package sockets

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	// The poller that the runtime opens once is no leak.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	goleak.VerifyTestMain(m)
}

// watchLeaks fails the test if it leaves descriptors open or goroutines running. It is called before
// anything is opened, so that its check comes after all is closed.
func watchLeaks(t testing.TB) {
	t.Helper()
	before, known := descriptors(t), goleak.IgnoreCurrent()
	t.Cleanup(func() {
		await(t, "descriptors to be closed", func() error {
			if after := descriptors(t); len(after) > len(before) {
				return fmt.Errorf("%d open, %d before: %q", len(after), len(before), after)
			}
			return nil
		})
		await(t, "goroutines to end", func() error { return goleak.Find(known) })
	})
}

// descriptors lists what this process holds open.
func descriptors(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		// The descriptor of the directory itself is closed by now.
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open = append(open, e.Name()+" "+what)
		}
	}
	return open
}

// await polls until check returns no error.
func await(t testing.TB, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Errorf("waited %v for %s: %v", patience, what, err)
}

// until polls until yes returns true.
func until(t testing.TB, what string, yes func() bool) {
	t.Helper()
	await(t, what, func() error {
		if yes() {
			return nil
		}
		return errors.New("not so")
	})
}

// told is all that a run tells: its report, and what its observer heard.
type told struct {
	metrics.ClientReport
	intervals []metrics.Interval
	periods   []loadgen.Period
}

// filledIn fills in what cfg leaves out: a closed loop with four in flight on two threads, and a
// timeout that never passes.
func filledIn(cfg loadgen.Config) loadgen.Config {
	cfg.Process = cmp.Or(cfg.Process, pace.Closed)
	cfg.Connections, cfg.Loops = cmp.Or(cfg.Connections, 4), cmp.Or(cfg.Loops, 2)
	cfg.Timeout = cmp.Or(cfg.Timeout, patience)
	cfg.OnExhausted = cmp.Or(cfg.OnExhausted, loadgen.CountExhausted)
	return cfg
}

// load runs cfg, filled in, and checks what must hold of every run.
func load(ctx context.Context, t testing.TB, cfg loadgen.Config) told {
	t.Helper()
	cfg = filledIn(cfg)
	var heard told
	report, err := Engine{}.Run(ctx, cfg, loadgen.Observer{
		Period:   func(p loadgen.Period) { heard.periods = append(heard.periods, p) },
		Interval: func(i metrics.Interval) { heard.intervals = append(heard.intervals, i) },
	})
	if err != nil {
		t.Fatalf("%+v: %v", cfg, err)
	}
	heard.ClientReport = report
	if complaints := complain(&cfg, &heard); len(complaints) > 0 {
		t.Errorf("%s\nof %+v\n%+v", strings.Join(complaints, "\n"), cfg, heard.Tally)
	}
	return heard
}

func (h *told) count(name string) uint64 { return uint64(h.Histograms[name].Count) }

// complain lists what cannot be true in a report.
func complain(cfg *loadgen.Config, h *told) (complaints []string) {
	hold := func(ok bool, format string, args ...any) {
		if !ok {
			complaints = append(complaints, fmt.Sprintf(format, args...))
		}
	}
	life := &cfg.Lifecycle
	if err := h.Balance(); err != nil {
		hold(false, "%v", err)
	}
	hold(h.InTime <= h.EndedInTime, "%d ended in time, %d of them well", h.EndedInTime, h.InTime)
	hold(cfg.Warmup > 0 || h.InTime <= h.Succeeded && h.EndedInTime <= h.Attempted,
		"%d ended in time, %d of them well, of %d", h.EndedInTime, h.InTime, h.Attempted)
	hold(h.SYNs >= h.Established, "%d SYNs, %d established", h.SYNs, h.Established)
	hold(h.Established >= h.count(metrics.Connect), "%d established, %d timed", h.Established, h.count(metrics.Connect))
	hold(cfg.Process != pace.Closed || h.Missed == 0, "a closed loop missed %d arrivals", h.Missed)
	hold(cfg.Count == 0 || h.Attempted <= cfg.Count, "%d attempts of %d", h.Attempted, cfg.Count)
	hold(len(h.Loops) == min(cfg.Loops, cfg.Connections), "%d loops", len(h.Loops))

	equal := func(a string, want uint64, what string) {
		hold(h.count(a) == want, "histogram %s holds %d, %s %d", a, h.count(a), what, want)
	}
	equal(metrics.Lifetime, h.Succeeded, "succeeded")
	if life.Gap+life.Stay == 0 && life.Beat == nil && cfg.ExchangeRate+cfg.CloseRate == 0 {
		equal(metrics.ScheduleLag, h.count(metrics.ConnectCall), metrics.ConnectCall)
	}
	hold(h.count(metrics.ConnectCall) <= h.Attempted, "%d calls of connect()", h.count(metrics.ConnectCall))
	hold(h.count(metrics.Connect) <= h.count(metrics.ConnectCall), "%d connected", h.count(metrics.Connect))
	hold(h.count(metrics.HandshakeRTT) == 0 || h.count(metrics.HandshakeRTT) <= h.count(metrics.Connect)/infoSample+uint64(len(h.Loops)),
		"%d samples of the RTT", h.count(metrics.HandshakeRTT))
	if cfg.Process == pace.Closed {
		equal(metrics.ConnectUncorrected, 0, "a closed loop")
		equal(metrics.LifetimeUncorrected, 0, "a closed loop")
	} else {
		equal(metrics.ConnectUncorrected, h.count(metrics.Connect), metrics.Connect)
		equal(metrics.LifetimeUncorrected, h.Succeeded, "succeeded")
	}
	silent := life.ConnectOnly || life.Response.Kind == loadgen.Exactly && life.Response.Bytes == 0
	if silent {
		equal(metrics.ExchangeTime, 0, "no exchange")
		equal(metrics.FirstByte, 0, "no exchange")
	} else {
		hold(h.count(metrics.ExchangeTime) >= h.Succeeded, "%d exchanges, %d succeeded", h.count(metrics.ExchangeTime), h.Succeeded)
		hold(h.count(metrics.FirstByte) >= h.Succeeded || len(life.Request) == 0, "%d first bytes", h.count(metrics.FirstByte))
	}
	if life.CloseWait {
		equal(metrics.CloseTime, h.Succeeded+h.Failed["close.reset"], "ends seen half-closed")
	} else {
		equal(metrics.CloseTime, 0, "no wait for a close")
	}

	var sum metrics.Tally
	var connects uint64
	last := metrics.Interval{Index: -1}
	for _, i := range h.intervals {
		hold(i.Index > last.Index && i.EndNS > last.EndNS, "interval %d ends at %d, after %d at %d", i.Index, i.EndNS, last.Index, last.EndNS)
		hold(i.InFlight >= 0 && i.InFlight <= cfg.Connections, "%d in flight", i.InFlight)
		sum.Attempted += i.Attempted
		sum.Succeeded += i.Succeeded
		sum.Open += i.Failed
		connects += uint64(i.Connect.Count)
		last = i
	}
	// The intervals also count what began in the warm-up.
	early := func(all, own uint64) bool { return all == own || cfg.Warmup > 0 && all > own }
	hold(sum.Attempted == h.Attempted && early(sum.Succeeded, h.Succeeded) && early(sum.Open, h.TotalFailed()),
		"intervals come to %d attempted, %d succeeded, %d failed", sum.Attempted, sum.Succeeded, sum.Open)
	hold(connects == h.count(metrics.Connect), "intervals hold %d connects, the total %d", connects, h.count(metrics.Connect))
	order := []loadgen.Period{loadgen.WarmingUp, loadgen.Measuring, loadgen.Draining}
	hold(slices.IsSortedFunc(h.periods, func(a, b loadgen.Period) int { return slices.Index(order, a) - slices.Index(order, b) }) &&
		len(h.periods) == len(slices.Compact(slices.Clone(h.periods))), "periods %v", h.periods)
	return complaints
}

// ends describes how attempts ended in one line, to compare.
func (h *told) ends() string {
	return fmt.Sprintf("%d attempted, %d succeeded, %v, %d open, %q", h.Attempted, h.Succeeded, h.Failed, h.Open, h.Stopped)
}

func allSucceeded(n uint64) string {
	return (&told{ClientReport: metrics.ClientReport{Tally: metrics.Tally{
		Attempted: n, Succeeded: n, Failed: map[string]uint64{}}}}).ends()
}

func allFailed(n uint64, name string) string {
	return (&told{ClientReport: metrics.ClientReport{Tally: metrics.Tally{
		Attempted: n, Failed: map[string]uint64{name: n}}}}).ends()
}

func sources(t testing.TB, text string) pace.Sources {
	t.Helper()
	s, err := pace.ParseSources(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Lives that several tests lead.
func echo(size int, by wire.Closer, how wire.How) loadgen.Lifecycle {
	return loadgen.Lifecycle{
		Request:  bytes.Repeat([]byte("e"), size),
		Response: loadgen.Until{Kind: loadgen.Exactly, Bytes: int64(size)},
		CloseBy:  by, CloseHow: how,
	}
}

func to(addrs ...netip.AddrPort) []netip.AddrPort { return addrs }
