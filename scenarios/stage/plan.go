// Package stage runs a plan once: server up, client up, warm-up, measure, drain, settle. From what
// both sides and the kernel counted it makes the result document.
//
// It measures nothing itself and prints nothing: client, server and kernel observers are roles of
// agents (internal/agent), and metrics/report has the views. A run that is interrupted still gives
// a result.
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
	// Client is the load. Run fills in its targets if Server is set.
	Client loadgen.Config
	// Server is the server to start for the run; nil when Client names targets.
	Server *server.Config
	// Scripted means that the target is a tcpbench server. A foreign one is asked for its limits
	// before the run.
	Scripted bool
	// Preflight makes one exchange with each target before the load, which does not begin if the
	// answer is not the one that it waits for.
	Preflight bool
	// Lab is where the run takes place; nil = this host. In a lab the run's own server has the
	// address of the lab's server instead of a loopback address.
	Lab *Venue
	// Freeze stops a side for a time while the load runs; nil = never.
	Freeze *Freeze
	// Observe watches the kernel during the run.
	Observe bool
	// Trace also asks the kernel's tracepoints.
	Trace bool
	// Settings are the effective settings by flag name, for the result.
	Settings map[string]string
	// Tool and Command go into the result as they are.
	Tool    metrics.Tool
	Command []string
}

// Observer follows a run; nil functions are not called.
type Observer struct {
	// Forecast is called before the run if something is likely to go wrong.
	Forecast func([]metrics.Finding)
	// Period is called when the client enters a period of the run.
	Period func(loadgen.Period)
	// Row is called for each second of the run.
	Row func(metrics.Row)
}

// ErrNotTCPBench means that a target answers, but not like a tcpbench server.
var ErrNotTCPBench = errors.New("the target is no tcpbench server")

// DefaultLoopbackSources are the sources if client and server share the loopback device. With a
// single one connect() would search a range of ports that TIME_WAITs of the last minute fill.
const DefaultLoopbackSources = "127.0.1.1-127.0.1.254"

// LoopbackSources returns the default source addresses: many if all targets are in 127.0.0.0/8, else
// none, which leaves the choice to the kernel.
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
