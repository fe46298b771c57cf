package stage

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/probe"
	"tcpbench/internal/values"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/server"
)

// patience is more than any answer takes.
const patience = 30 * time.Second

// The children of a run are this binary again.
func TestMain(m *testing.M) {
	if agent.Invoked() {
		os.Exit(agent.Main(Roles()))
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(probe.Tests(m.Run, os.Stdin, os.Stdout, os.Stderr))
}

// own is the configuration of a server on a free loopback port.
func own() *server.Config {
	return &server.Config{
		Loops: 1, Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		MaxRequest: values.MaxMessage, MaxResponse: values.MaxMessage,
	}
}

// endless is a closed loop of two connections that does not end within a test.
func endless() Plan {
	return Plan{Name: "endless", Server: own(), Scripted: true, Client: loadgen.Config{
		Process: pace.Closed, Connections: 2, Loops: 1, Duration: time.Hour,
		Timeout: patience, OnExhausted: loadgen.CountExhausted,
		Lifecycle: loadgen.Scripted(wire.Script{Exchanges: 1, RequestSize: 1, ResponseSize: 1}),
	}}
}

// held is a population that is held for longer than a test.
func held() Plan {
	p := endless()
	p.Client.Process, p.Client.HoldFor, p.Client.Duration = pace.Hold, time.Hour, 0
	p.Client.Lifecycle = loadgen.Scripted(wire.Script{RequestSize: 1, ResponseSize: 1})
	p.Client.Lifecycle.StayToEnd, p.Client.Lifecycle.Exchanges = true, 1
	p.Client.Lifecycle.Beat = &loadgen.Heartbeat{Every: time.Second, Missed: 3, Design: loadgen.ClientPings}
	return p
}
