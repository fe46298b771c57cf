// Package stage runs a plan once: server up, client up, warm-up, measure, drain, settle, and
// from what both sides and the kernel counted the result document.
//
// It measures nothing itself and prints nothing: the sides run in children, the views
// stand in metrics/report. A run that is interrupted still gives a result.
package stage

import (
	"errors"
	"net/netip"

	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
	"tcpbench/server"
)

// Plan is all that decides a run.
type Plan struct {
	// Name is the scenario's name in the result.
	Name string
	// Client is the load. Its targets are filled in where Server is set.
	Client loadgen.Config
	// Server is the server to start for the run; nil when Client names targets.
	Server *server.Config
	// Scripted tells that the target is a tcpbench server; one that is not our own is
	// asked for its limits before the run.
	Scripted bool
	// Preflight tells to make one exchange with each target before the load, and not to
	// begin if the answer is not what the load waits for.
	Preflight bool
	// Lab is where the run takes place, and nil is here. In a lab the run's own server has the
	// address of the lab's server in place of a loopback address.
	Lab *Venue
	// Freeze stops a side for a time while the load runs; nil is never.
	Freeze *Freeze
	// Observe tells to watch the kernel meanwhile.
	Observe bool
	// Trace tells to ask the kernel's tracepoints, too.
	Trace bool
	// Settings are the effective settings by flag name, for the result.
	Settings map[string]string
	// Tool and Command go into the result as they are.
	Tool    metrics.Tool
	Command []string
}

// Observer is told of a run while it goes on; nil functions are not called.
type Observer struct {
	// Forecast is called before a run with what is likely to go wrong, if anything is.
	Forecast func([]metrics.Finding)
	// Period is called when the client enters a period of the run.
	Period func(loadgen.Period)
	// Row is called with each second of the run.
	Row func(metrics.Row)
}

// ErrNotTCPBench means that a target answers, but not as a tcpbench server does.
var ErrNotTCPBench = errors.New("the target is no tcpbench server")

// DefaultLoopbackSources are spread over when client and server share the loopback
// device: with one source address, connect() searches one range of ports, and every
// connection of the last minute is in its way.
const DefaultLoopbackSources = "127.0.1.1-127.0.1.254"

// LoopbackSources returns the source addresses to use by default: many for targets that
// are all in 127.0.0.0/8, otherwise none, which leaves the choice to the kernel.
func LoopbackSources(targets []netip.AddrPort) pace.Sources {
	for _, t := range targets {
		if a := t.Addr().Unmap(); !a.Is4() || !a.IsLoopback() {
			return nil
		}
	}
	sources, err := pace.ParseSources(DefaultLoopbackSources)
	if err != nil {
		panic(err) // a constant of this file
	}
	return sources
}
