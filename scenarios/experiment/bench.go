package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/metrics"
)

// side is one of the two hosts, and the direction that leads away from it.
type side int

const (
	client side = iota
	server
)

func (s side) String() string { return [...]string{"client", "server"}[s] }
func (s side) other() side    { return 1 - s }

// bench is where an experiment is done: two hosts, the gates between them, and a notebook.
type bench struct {
	ctx        context.Context
	experiment *Experiment
	lab        *lab.Lab   // nil on loopback, which has no gates
	options    [2]Options // of every socket of a side
	promised   []Fact     // what the story finds out
	tell       func(metrics.Event)
	began      time.Time

	events []metrics.Event
	facts  []metrics.Value
	census [2]*sockdiag.Census
	known  map[endpoint]*life
	order  []endpoint        // in which they became known
	names  map[uint16]string // of connections, by the client's port
	fds    []int
	log    []arrival // all segments

	mu      sync.Mutex
	arrival []arrival // segments that nobody has noted yet
	trails  map[flow]*trail
	arrived chan struct{}
	broken  <-chan error // of the lab's link
	silent  bool         // segments and states are not noted, only counted

	conclude   func() // comes to the facts that the end of the story tells, however it ends
	unfinished string // why the story ended early
	table      *metrics.Table
	pulse      pulse
	blind      bool // states are not looked at
}

func (b *bench) host(s side) *lab.Host { return [...]*lab.Host{b.lab.Client, b.lab.Server}[s] }

// gate is the one that segments of a side pass.
func (b *bench) gate(from side) *lab.Gate {
	return [...]*lab.Gate{b.lab.ToServer, b.lab.ToClient}[from]
}

func (b *bench) check(err error, doing string) {
	if err != nil {
		panic(failure{fmt.Errorf("%s: %w", doing, err)})
	}
}

func (b *bench) open() {
	b.pulse.start()
	for _, s := range []side{client, server} {
		b.check(b.on(s, func() (err error) {
			b.census[s], err = sockdiag.OpenCensus()
			return err
		}), "look at the "+s.String())
		if b.lab != nil {
			b.gate(s).Watch(b.notice(s))
		}
	}
}

func (b *bench) close() {
	for _, s := range []side{client, server} {
		if b.lab != nil {
			b.gate(s).Watch(nil)
			b.gate(s).Release()
		}
		if c := b.census[s]; c != nil {
			_ = c.Close() // it was read only
		}
	}
	b.closeSockets()
	b.pulse.end()
}

func (b *bench) report() *metrics.Experiment {
	b.note()
	slices.SortStableFunc(b.events, func(x, y metrics.Event) int {
		switch {
		case x.T < y.T:
			return -1
		case x.T > y.T:
			return 1
		}
		return 0
	})
	return &metrics.Experiment{Family: b.experiment.Family(), Events: b.events, Facts: b.facts, Unfinished: b.unfinished, Table: b.table}
}

func (b *bench) event(e metrics.Event) {
	if e.T == 0 {
		e.T = time.Since(b.began).Seconds()
	}
	b.events = append(b.events, e)
	if b.tell != nil {
		b.tell(e)
	}
}

// act notes what an application does.
func (b *bench) act(of side, format string, args ...any) {
	b.note()
	b.event(metrics.Event{Kind: metrics.Act, Of: of.String(), Text: fmt.Sprintf(format, args...)})
}

// saw notes whether a call of an application has come back.
func (b *bench) saw(of side, is bool, yes, no string) {
	if !is {
		yes = no
	}
	b.act(of, "%s", yes)
}

// remark notes what is neither an act nor seen on the link.
func (b *bench) remark(format string, args ...any) {
	b.note()
	b.event(metrics.Event{Kind: metrics.Remark, Text: fmt.Sprintf(format, args...)})
}

func (b *bench) fact(name string, value float64) { b.found(metrics.Value{Name: name, Value: value}) }

func (b *bench) took(name string, d time.Duration) {
	b.found(metrics.Value{Name: name, Value: float64(d)})
}

func (b *bench) said(name, text string) { b.found(metrics.Value{Name: name, Text: text}) }

// truth is a fact that is 1 or 0.
func (b *bench) truth(name string, is bool) {
	if is {
		b.fact(name, 1)
	} else {
		b.fact(name, 0)
	}
}

func (b *bench) found(v metrics.Value) {
	i := slices.IndexFunc(b.promised, func(f Fact) bool { return f.Name == v.Name })
	if i < 0 {
		panic("the experiment " + b.experiment.Name + " finds out something that it has not promised: " + v.Name)
	}
	v.Unit = b.promised[i].Unit
	b.facts = append(b.facts, v)
}

// patience is how long something may take that happens at once, on a machine that has other
// things to do.
const patience = 20 * time.Second

// await waits for something to become true, and looks at both hosts meanwhile. In vain ends
// the experiment.
func (b *bench) await(what string, is func() bool) { b.awaitFor(patience, what, is) }

func (b *bench) awaitFor(most time.Duration, what string, is func() bool) {
	if !b.happens(most, is) {
		panic(failure{fmt.Errorf("%w for %v: %s", errVain, most, what)})
	}
}

// happens tells whether something becomes true in a time.
func (b *bench) happens(most time.Duration, is func() bool) bool {
	deadline := time.Now().Add(most)
	for pause := time.Millisecond; ; pause = min(pause*5/4, 20*time.Millisecond) {
		b.look()
		if is() {
			return true
		}
		if b.ctx.Err() != nil {
			panic(failure{errors.New("the experiment was interrupted")})
		}
		wait := min(time.Until(deadline), pause) // sock_diag has no news to wait for
		if wait <= 0 {
			return false
		}
		timer := time.NewTimer(wait)
		select {
		case err := <-b.broken:
			b.check(err, "the lab's link has failed")
		case <-b.arrived:
		case <-timer.C:
		case <-b.ctx.Done():
		}
		timer.Stop()
	}
}

// sysctl writes a setting of a host.
func (b *bench) sysctl(of side, key, value string) {
	b.act(of, "%s = %s", key, value)
	b.check(machine.Write(b.host(of), key, value), "set "+key)
}

// setting reads a setting of a host.
func (b *bench) setting(of side, key string) string {
	var text []byte
	b.check(b.on(of, func() (err error) {
		text, err = os.ReadFile(settingFile(key))
		return err
	}), "read "+key)
	return strings.Join(strings.Fields(string(text)), " ")
}

func settingFile(key string) string {
	return path.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
}

// counter reads a counter of a host.
func (b *bench) counter(of side, group, name string) (value int64) {
	b.check(b.on(of, func() error {
		c, err := kernel.ReadCounters()
		value, _ = c.Value(group, name)
		return err
	}), "read counters")
	return value
}
