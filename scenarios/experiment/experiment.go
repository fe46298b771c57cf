// Package experiment does to single connections what no load can do: it holds a segment until the
// states of both ends have been read, lets two SYNs cross, kills a peer.
//
// An experiment is a short function in a file of its own. It acts by sockets of the kernel, in a
// lab whose link has gates or on loopback, records what it sees, and finds facts. The scenario's
// file has the verdict: what the facts must be.
package experiment

import (
	"context"
	"slices"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment/bench"
)

// Experiment is one of them.
type Experiment struct {
	Name  string
	Facts []bench.Fact
	// Settings are those that it writes, besides its scenario's.
	Settings []machine.Setting
	// Interval is the time between two heartbeats; zero if there are none.
	Interval time.Duration
	IPv6     bool             // the connections are of IPv6, not of IPv4
	Options  [2]bench.Options // of all sockets of a side
	do       func(*bench.Bench)
	// onLoopback is what is done without a lab; nil if the experiment needs one.
	onLoopback *story
}

// story is what an experiment does on loopback, and what it finds out. No segment is seen or held
// there, and no setting of the host is changed: options are set on sockets, and evidence comes from
// TCP_INFO and sock_diag(7) of these sockets. The host's counters count other programs, too.
type story struct {
	facts []bench.Fact
	do    func(*bench.Bench)
}

// all is in the order of a connection's life.
var all = []*Experiment{
	handshake, simultaneousOpen, selfConnect, mss, zeroWindow,
	fourWayClose, threeWayClose, halfClose, simultaneousClose, rstClose,
	timeWaitLength, lostLastACK, timeWaitAssassination, ephemeralPortTheft,
	backlog, acceptOverflow, keepalive, heartbeatDesigns,
}

// ErrNoIPv6 means that the lab's hosts cannot use IPv6.
var ErrNoIPv6 = bench.ErrNoIPv6

const (
	client = bench.Client
	server = bench.Server
)

func number(name, means string) bench.Fact { return bench.Fact{Name: name, Means: means} }

func duration(name, means string) bench.Fact {
	return bench.Fact{Name: name, Unit: metrics.Nanoseconds, Means: means}
}

func text(name, means string) bench.Fact {
	return bench.Fact{Name: name, Unit: metrics.Text, Means: means}
}

// Facts of several experiments.
var (
	clientStates     = text("client_states", "the states that the client's socket went through, in order")
	serverStates     = text("server_states", "the states that the server's socket went through, in order")
	receivedBytes    = number("received", "bytes that came over the connection")
	sentBytes        = number("sent", "bytes that the client's application has sent")
	somaxconnFact    = number("somaxconn", "the server's net.core.somaxconn")
	distinctSegments = number("segments", "different segments that were sent")
	closing          = []bench.Fact{clientStates, serverStates, distinctSegments}
)

// Find returns the experiment of that name.
func Find(name string) (*Experiment, bool) {
	i := slices.Index(Names(), name)
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

// Names lists all experiments.
func Names() (names []string) {
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names
}

// Facts are the facts of all experiments by name. One that several have means the same in all.
func Facts() map[string]bench.Fact {
	facts := map[string]bench.Fact{}
	for _, e := range all {
		for _, f := range slices.Concat(e.LoopbackFacts(), e.Facts) {
			facts[f.Name] = f
		}
	}
	return facts
}

// Run does the experiment in a lab whose link has gates, or on this host's loopback if l is nil. If
// ctx ends, the result is what was found until then. tell is called with every event, and may be nil.
func (e *Experiment) Run(ctx context.Context, l *lab.Lab, tell func(metrics.Event)) (*metrics.Experiment, error) {
	s, do := bench.Setup{Name: e.Name, Promised: e.Facts, Lab: l, IPv6: e.IPv6, Options: e.Options, Interval: e.Interval, Tell: tell}, e.do
	if l == nil {
		s.Promised, do = e.onLoopback.facts, e.onLoopback.do
	}
	return bench.Perform(ctx, s, do)
}

// OnLoopback tells whether the experiment can be done without a lab.
func (e *Experiment) OnLoopback() bool { return e.onLoopback != nil }

// LoopbackFacts are what it finds out there.
func (e *Experiment) LoopbackFacts() []bench.Fact {
	if e.onLoopback == nil {
		return nil
	}
	return e.onLoopback.facts
}
