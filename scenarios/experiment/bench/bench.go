// Package bench is the place where experiments act on single TCP connections: two hosts with sockets
// that never block, gates on the link that hold or drop segments, a look at the state of each
// socket, and a record of all that happens.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// Side is one of the two hosts, and the direction in which it sends.
type Side int

const (
	Client Side = iota
	Server
)

var sides = []Side{Client, Server}

func (s Side) String() string { return [...]string{"client", "server"}[s] }

// Other is the peer's side.
func (s Side) Other() Side { return 1 - s }

// Fact is something that an experiment finds out.
type Fact struct {
	Name  string
	Unit  string // as metrics.Value.Unit has it
	Means string
}

// Stalled is the fact of experiments that measure times.
var Stalled = Fact{Name: "stalled", Unit: metrics.Nanoseconds, Means: "longest time for which this process did not run: the other times are as uncertain"}

// Setup says where an experiment acts, and with what.
type Setup struct {
	Name     string
	Promised []Fact        // the facts that it finds out
	Lab      *lab.Lab      // its link has gates; nil is loopback, which has none
	IPv6     bool          // the connections are of IPv6, not of IPv4
	Options  [2]Options    // of all sockets of a side
	Interval time.Duration // between two heartbeats
	Tell     func(metrics.Event)
}

// Bench is where one experiment acts, and its record.
type Bench struct {
	Setup
	// Silent: segments and states are counted, but are no events.
	Silent bool
	// Blind: states of sockets are not looked at, because there are too many or they do not matter.
	Blind bool
	// Conclude is called after the last step, even if the experiment ends early.
	Conclude func()
	// Table is shown with the facts.
	Table *metrics.Table

	ctx        context.Context
	began      time.Time
	events     []metrics.Event
	facts      []metrics.Value
	unfinished string // why the experiment ended early
	stalled    atomic.Int64
	fds        []int
	broken     <-chan error // of the lab's link

	census  [2]*sockdiag.Census
	ends    map[tuple]*End
	watched []*End            // in the order in which they became known
	names   map[uint16]string // of connections, by the client's port

	mu      sync.Mutex
	come    []arrival // segments that are not recorded yet
	news    chan struct{}
	arrived []arrival // all segments
}

// failure ends an experiment from within.
type failure struct{ error }

var (
	// errTimeout: what was awaited did not come. The facts found until then stand.
	errTimeout = errors.New("timed out")
	// errOtherwise: a socket is in another state than claimed. The experiment ends, and its facts decide.
	errOtherwise = errors.New("not as claimed")
)

// Perform calls do with a new bench, and returns what it found out. If something awaited does not
// come, or ctx ends, the result is what was found until then.
func Perform(ctx context.Context, s Setup, do func(*Bench)) (*metrics.Experiment, error) {
	b := &Bench{Setup: s, ctx: ctx, began: time.Now(), news: make(chan struct{}, 1),
		ends: map[tuple]*End{}, names: map[uint16]string{}}
	beating, stop := context.WithCancel(context.Background())
	defer stop()
	go b.beat(beating)
	defer b.close()
	err := b.attempt(func() {
		b.open()
		b.checkFamily()
		do(b)
	})
	if b.Conclude != nil {
		b.Conclude()
	}
	switch {
	case errors.Is(err, errOtherwise):
		b.Remark("%v", err)
	case err != nil && (errors.Is(err, errTimeout) || ctx.Err() != nil):
		b.Remark("%v", err)
		b.unfinished = err.Error()
	case err != nil:
		return nil, fmt.Errorf("experiment %s: %w", s.Name, err)
	}
	b.note()
	slices.SortStableFunc(b.events, func(x, y metrics.Event) int { return cmp.Compare(x.T, y.T) })
	family := metrics.IPv4
	if s.IPv6 {
		family = metrics.IPv6
	}
	return &metrics.Experiment{Family: family, Events: b.events, Facts: b.facts, Unfinished: b.unfinished, Table: b.Table}, nil
}

// attempt calls do, and returns the failure that ended it.
func (b *Bench) attempt(do func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.error
		default:
			panic(r)
		}
	}()
	do()
	return nil
}

// Check ends the experiment if err is not nil.
func (b *Bench) Check(err error, doing string) {
	if err != nil {
		panic(failure{fmt.Errorf("%s: %w", doing, err)})
	}
}

func (b *Bench) open() {
	if b.Lab != nil {
		b.broken = b.Lab.Broken()
	}
	for _, s := range sides {
		b.on(s, "look at the "+s.String(), func() (err error) {
			b.census[s], err = sockdiag.OpenCensus()
			return err
		})
		if b.Lab != nil {
			b.gate(s).Watch(b.notice(s))
		}
	}
}

func (b *Bench) close() {
	for _, s := range sides {
		if b.Lab != nil {
			b.gate(s).Watch(nil)
			b.gate(s).Release()
		}
		if c := b.census[s]; c != nil {
			_ = c.Close() // it was read only
		}
	}
	b.closeSockets()
}

// beat measures for how long this process does not run: it can then neither look nor carry segments.
func (b *Bench) beat(ctx context.Context) {
	const every = 10 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		b.stalled.Store(max(b.stalled.Load(), int64(now.Sub(last)-every)))
		last = now
	}
}

// Stalled is the longest time for which this process has not run.
func (b *Bench) Stalled() time.Duration { return time.Duration(b.stalled.Load()) }

func (b *Bench) event(e metrics.Event) {
	if e.T == 0 {
		e.T = time.Since(b.began).Seconds()
	}
	b.events = append(b.events, e)
	if b.Tell != nil {
		b.Tell(e)
	}
}

// Act records what an application does.
func (b *Bench) Act(of Side, format string, args ...any) {
	b.note()
	b.event(metrics.Event{Kind: metrics.Act, Of: of.String(), Text: fmt.Sprintf(format, args...)})
}

// Saw records yes if a call of an application has returned, and no if it has not.
func (b *Bench) Saw(of Side, is bool, yes, no string) {
	if !is {
		yes = no
	}
	b.Act(of, "%s", yes)
}

// Remark records what is neither an act nor seen on the link.
func (b *Bench) Remark(format string, args ...any) {
	b.note()
	b.event(metrics.Event{Kind: metrics.Remark, Text: fmt.Sprintf(format, args...)})
}

// Fact records the value of a promised fact: a number, a duration, a text, or a bool, which is 1 or 0.
func (b *Bench) Fact(name string, value any) {
	i := slices.IndexFunc(b.Promised, func(f Fact) bool { return f.Name == name })
	if i < 0 {
		panic("the experiment " + b.Name + " finds out something that it has not promised: " + name)
	}
	v := metrics.Value{Name: name, Unit: b.Promised[i].Unit}
	switch x := value.(type) {
	case string:
		v.Text = x
	case bool:
		if x {
			v.Value = 1
		}
	default:
		v.Value = reflect.ValueOf(x).Convert(reflect.TypeFor[float64]()).Float()
	}
	b.facts = append(b.facts, v)
}

// Patience is how long something that usually happens at once may take on a busy machine.
const Patience = 20 * time.Second

// Await waits until is returns true, and looks at both hosts meanwhile. After Patience the
// experiment ends.
func (b *Bench) Await(what string, is func() bool) { b.AwaitFor(Patience, what, is) }

// AwaitFor is Await with another limit.
func (b *Bench) AwaitFor(most time.Duration, what string, is func() bool) {
	if !b.Happens(most, is) {
		panic(failure{fmt.Errorf("%w after %v waiting for %s", errTimeout, most, what)})
	}
}

// Happens tells whether is becomes true in time.
func (b *Bench) Happens(most time.Duration, is func() bool) bool {
	deadline := time.Now().Add(most)
	for pause := time.Millisecond; ; pause = min(pause*5/4, 20*time.Millisecond) {
		b.Look()
		if is() {
			return true
		}
		if b.ctx.Err() != nil {
			panic(failure{errors.New("the experiment was interrupted")})
		}
		wait := min(time.Until(deadline), pause) // sock_diag must be polled
		if wait <= 0 {
			return false
		}
		timer := time.NewTimer(wait)
		select {
		case err := <-b.broken:
			b.Check(err, "the lab's link has failed")
		case <-b.news:
		case <-timer.C:
		case <-b.ctx.Done():
		}
		timer.Stop()
	}
}
