package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
	"tcpbench/server"
)

// As many processes are started as the descriptors of one server take, which needs some itself.
func TestCrewSize(t *testing.T) {
	most := MostConnections()
	served := min(most, server.Most(most+SpareDescriptors, 1, 1))
	ports := func(n int) []netip.AddrPort { return make([]netip.AddrPort, n) }
	for _, c := range []struct {
		name        string
		connections int
		own         *server.Config
		want        int
	}{
		{"foreign", most, nil, 1},
		{"foreign, one more", most + 1, nil, 2},
		{"foreign, many", 10*most + 1, nil, 11},
		{"own", served, &server.Config{Loops: 1, Addrs: ports(1)}, 1},
		{"own, one more", served + 1, &server.Config{Loops: 1, Addrs: ports(1)}, 2},
		{"own, whose loops need descriptors", served, &server.Config{Loops: 64, Addrs: ports(1)}, 2},
		{"own, no room at all", 20, &server.Config{Loops: 256, Addrs: ports(most)}, 1},
	} {
		p := &Plan{Server: c.own, Client: loadgen.Config{Connections: c.connections}}
		if got := p.CrewSize(); got != c.want {
			t.Errorf("%s: %d processes, want %d", c.name, got, c.want)
		}
	}
}

// actor is a role that a test plays. What is nil does nothing.
type actor struct {
	voice  *agent.Voice
	ready  any
	start  func(*actor, time.Time)
	tell   func(*actor, string)
	sample func() any
}

func (a *actor) Prepare(_ context.Context, _ json.RawMessage, voice *agent.Voice) (any, error) {
	a.voice = voice
	return a.ready, nil
}

func (a *actor) Start(at time.Time) error {
	if a.start != nil {
		a.start(a, at)
	}
	return nil
}

func (a *actor) Tell(word string) error {
	if a.tell != nil {
		a.tell(a, word)
	}
	return nil
}

func (a *actor) Sample() (any, error) { return a.sample(), nil }

func (a *actor) Stop() error {
	a.voice.End(metrics.ClientReport{}, nil)
	return nil
}

// cast is a stage whose agents are actors in memory.
func cast(plan *Plan, client, server func() *actor) *stage {
	s := newStage(plan, Observer{})
	s.place = func(Side) agent.Place {
		return agent.Memory{Roles: agent.Roles{
			clientRole: func() agent.Role { return client() },
			serverRole: func() agent.Role { return server() },
		}}
	}
	return s
}

// Servers that say nothing are waited for together, and the result names them.
func TestSilentServersAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent, over := false, make(chan struct{})
		s := cast(&Plan{Server: own()}, nil, func() *actor {
			return &actor{ready: own().Addrs, sample: func() any {
				if silent {
					<-over
				}
				return ServerUsage{Server: &metrics.ServerReport{Accepted: 1}}
			}}
		})
		defer s.close()
		defer close(over)
		if err := errors.Join(s.startServers(), s.startServers()); err != nil {
			t.Fatal(err)
		}
		if u := s.sample(); u == nil || u.Server.Accepted != 2 || s.serverLost != nil {
			t.Fatalf("%+v, %v", u, s.serverLost)
		}
		silent = true
		began := time.Now()
		if u := s.sample(); u != nil {
			t.Errorf("%+v", u)
		}
		// Each may have to be killed.
		if took := time.Since(began); took < samplePatience || took > samplePatience+10*time.Second {
			t.Errorf("they were waited for %v", took)
		}
		const want = "server gave no answer within 5s when it was asked to sample"
		if s.serverLost == nil || strings.Count(s.serverLost.Error(), want) != 2 {
			t.Errorf("%v, want %q of both", s.serverLost, want)
		}
		if u := s.sample(); u != nil { // they are gone: nobody is asked again
			t.Errorf("%+v", u)
		}
	})
}

// A client that says nothing in the middle of a run ends it, by its name, when it has been silent
// for a minute beside the time for which the plan explains it.
func TestASilentClientIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cast(&Plan{Client: loadgen.Config{Connections: 1, Warmup: time.Hour}}, func() *actor {
			return &actor{start: func(a *actor, _ time.Time) { a.voice.Event(clientEvent{Period: loadgen.WarmingUp}) }}
		}, nil)
		defer s.close()
		if err := s.startClients(); err != nil {
			t.Fatal(err)
		}
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		s.ticks = ticker.C
		began := time.Now()
		_, err := s.drive(t.Context())
		const want = "client has said nothing for 1h1m0s"
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), want) || took < time.Hour+silencePatience || took > time.Hour+silencePatience+2*time.Second {
			t.Errorf("after %v: %v, want %q", took, err, want)
		}
	})
}

// Several clients begin to hold their populations when all are there, the periods are those of all
// together, and their seconds and reports are added up.
func TestClientsActTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := make(chan time.Time, 2)
		var periods []loadgen.Period
		second := func(a *actor) {
			a.voice.Event(clientEvent{Interval: &metrics.Interval{Index: 0, Attempted: 3}})
		}
		n := 0
		s := cast(&Plan{Client: loadgen.Config{Process: pace.Hold, Connections: MostConnections() + 1}}, func() *actor {
			n++
			ramp := time.Duration(n) * time.Minute / 2
			return &actor{
				start: func(a *actor, _ time.Time) {
					go func() {
						a.voice.Event(clientEvent{Period: loadgen.Measuring})
						time.Sleep(ramp)
						a.voice.Event(clientEvent{Period: loadgen.Holding})
						second(a)
					}()
				},
				tell: func(a *actor, word string) {
					if word != wordHold {
						t.Errorf("told %q", word)
					}
					began <- time.Now()
					a.voice.Event(clientEvent{Period: loadgen.Draining})
					a.voice.End(metrics.ClientReport{Tally: metrics.Tally{Attempted: 5}}, nil)
				},
			}
		}, nil)
		s.obs.Period = func(p loadgen.Period) { periods = append(periods, p) }
		defer s.close()
		if err := s.startClients(); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		total, err := s.drive(t.Context())
		if err != nil || total.Attempted != 10 || len(s.rows) != 1 || s.rows[0].Attempted != 6 {
			t.Errorf("%+v, rows %+v, %v", total.Tally, s.rows, err)
		}
		if held := (<-began).Sub(started); held != time.Minute || fmt.Sprint(periods) != "[measuring holding draining]" {
			t.Errorf("held after %v, in periods %v", held, periods)
		}
	})
}

// A client that fails in the middle of a run ends it, and so does one that speaks in another way.
func TestAClientThatFailsEndsTheRun(t *testing.T) {
	for want, says := range map[string]func(*actor){
		"client: no luck":            func(a *actor) { a.voice.End(nil, errors.New("no luck")) },
		`the content of "event"`:     func(a *actor) { a.voice.Event(7) },
		`"done" without its content`: func(a *actor) { a.voice.End(nil, nil) },
	} {
		s := cast(&Plan{Client: loadgen.Config{Connections: 1}}, func() *actor {
			return &actor{start: func(a *actor, _ time.Time) { says(a) }}
		}, nil)
		err := s.startClients()
		if err == nil {
			_, err = s.drive(t.Context())
		}
		s.close()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
