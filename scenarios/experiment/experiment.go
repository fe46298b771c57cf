// Package experiment does to single connections what no load can be made to do: it holds
// a segment back until both ends have been looked at, lets two SYNs cross, kills a peer.
//
// An experiment is a short function that reads as a story, in a file of its own. It acts by
// sockets of the kernel in a lab with gates, notes what it sees, and comes to facts. Whether
// these show what is claimed is for the scenario to say, whose file has the verdict.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/metrics"
)

// Experiment is one of them.
type Experiment struct {
	Name string
	// Facts are what it finds out.
	Facts []Fact
	// Settings are those that it writes meanwhile, besides its scenario's.
	Settings []machine.Setting
	// Interval is the time between two heartbeats; zero if there are none.
	Interval time.Duration
	do       func(*bench)
	ipv6     bool       // on connections of IPv6, not of IPv4
	options  [2]Options // of every socket of a side, in a lab
	// onLoopback is what is done where there is no lab; nil where only a lab will do.
	onLoopback *story
}

// Fact is something that an experiment finds out.
type Fact struct {
	Name  string
	Unit  string // as metrics.Value.Unit
	Means string
}

// The units of facts.
const (
	Number = ""
	Time   = metrics.Nanoseconds
	Text   = metrics.Text
)

// all is the order of a connection's life.
var all = []*Experiment{
	handshake, simultaneousOpen, selfConnect, mss, zeroWindow,
	fourWayClose, threeWayClose, halfClose, simultaneousClose, rstClose,
	timeWaitLength, lostLastACK, timeWaitAssassination, ephemeralPortTheft,
	backlog, acceptOverflow, keepalive, heartbeatDesigns,
}

// Find returns the experiment of that name, and whether there is one.
func Find(name string) (*Experiment, bool) {
	for _, e := range all {
		if e.Name == name {
			return e, true
		}
	}
	return nil, false
}

// Names lists all experiments.
func Names() (names []string) {
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names
}

// FindFact returns the fact of that name, which means the same in all experiments that have it.
func FindFact(name string) (Fact, bool) {
	for _, e := range all {
		facts := slices.Concat(e.Facts, e.LoopbackFacts())
		if i := slices.IndexFunc(facts, func(f Fact) bool { return f.Name == name }); i >= 0 {
			return facts[i], true
		}
	}
	return Fact{}, false
}

// FactNames lists the facts of all experiments.
func FactNames() (names []string) {
	for _, e := range all {
		for _, f := range slices.Concat(e.Facts, e.LoopbackFacts()) {
			if !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

// failure ends an experiment from within.
type failure struct{ error }

// errVain tells that what was awaited has not come: the story ends there, and the facts that
// there are stand.
var errVain = errors.New("waited in vain")

// errOtherwise tells that the kernel did something else than the story goes on with. That is seen,
// not waited for, so the facts decide.
var errOtherwise = errors.New("otherwise than claimed")

// With is the experiment on sockets with these options, for tests that take its mechanism away.
func (e *Experiment) With(client, server Options) *Experiment {
	other := *e
	other.options = [2]Options{client, server}
	return &other
}

// Every is the experiment with another time between two heartbeats.
func (e *Experiment) Every(interval time.Duration) *Experiment {
	other := *e
	other.Interval = interval
	return &other
}

// Run does the experiment in a lab whose link is gated. It ends early, with what there is,
// when ctx does; tell hears of every event, and may be nil.
func (e *Experiment) Run(ctx context.Context, l *lab.Lab, tell func(metrics.Event)) (*metrics.Experiment, error) {
	return e.perform(&bench{ctx: ctx, lab: l, broken: l.Broken(), tell: tell, promised: e.Facts, options: e.options}, e.do)
}

// perform does one of the experiment's two stories.
func (e *Experiment) perform(b *bench, do func(*bench)) (result *metrics.Experiment, err error) {
	b.experiment, b.began = e, time.Now()
	b.known, b.names = map[endpoint]*life{}, map[uint16]string{}
	b.trails, b.arrived = map[flow]*trail{}, make(chan struct{}, 1)
	defer b.close()
	defer func() {
		r := recover()
		f, ours := r.(failure)
		switch {
		case r == nil:
		case !ours:
			panic(r)
		case errors.Is(f.error, errVain), b.ctx.Err() != nil:
			b.remark("%v", f.error)
			b.unfinished = f.Error()
		default:
			result, err = nil, fmt.Errorf("experiment %s: %w", e.Name, f.error)
			return
		}
		result = b.report()
	}()
	b.open()
	b.checkFamily()
	b.follows(do)
	return nil, nil // the deferred function knows
}

// follows does a story to its end, or to where the kernel does otherwise, and concludes.
func (b *bench) follows(do func(*bench)) {
	defer func() {
		r := recover()
		if f, ok := r.(failure); ok && errors.Is(f.error, errOtherwise) {
			b.remark("%v", f.error)
			r = nil
		}
		if r != nil {
			panic(r)
		}
		if b.conclude != nil {
			b.conclude()
		}
	}()
	do(b)
}
