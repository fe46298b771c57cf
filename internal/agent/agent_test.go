package agent

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if Invoked() {
		if live := manners[strings.TrimPrefix(os.Args[1], argument+" ")]; live != nil {
			os.Exit(live(os.NewFile(inherited, "coordinator")))
		}
		os.Exit(Main(roles))
	}
	// The race detector lets a process that ends sleep for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	// What runs in parallel waits for processes to end, not for processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func matches(err error, pattern string) bool {
	return err != nil && regexp.MustCompile(pattern).MatchString(err.Error())
}

var roles = Roles{"puppet": func() Role { return &puppet{} }}

// puppet is a role that does what it is told.
type puppet struct {
	voice *Voice
	words []string
}

type spec struct {
	Refuse string
	Addr   string
}

func (p *puppet) Prepare(_ context.Context, text json.RawMessage, voice *Voice) (any, error) {
	var s spec
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	if s.Refuse != "" {
		return nil, errors.New(s.Refuse)
	}
	p.voice = voice
	return s, nil
}

func (p *puppet) Start(at time.Time) error {
	p.voice.Event(at)
	return nil
}

func (p *puppet) Tell(word string) error {
	p.words = append(p.words, word)
	switch word {
	case "refuse":
		return errors.New("will not")
	case "end":
		p.voice.End(p.words, nil)
	case "fail":
		p.voice.End(nil, errors.New("no luck"))
	}
	return nil
}

func (p *puppet) Sample() (any, error) { return p.words, nil }

func (p *puppet) Stop() error {
	p.voice.End("stopped", nil)
	return nil
}

var places = map[string]Place{"process": Processes{}, "memory": Memory{roles}}

// ear holds what was heard of an agent.
type ear chan struct {
	Message
	err error
}

func (e ear) heard(m Message, err error) {
	e <- struct {
		Message
		err error
	}{m, err}
}

// hire starts a puppet that ends with the test.
func hire(t *testing.T, place Place) (*Remote, ear) {
	t.Helper()
	want, got, ear := spec{Addr: "a\x00\u2028<&>"}, spec{}, make(ear, 8)
	r, err := New(place, "puppet", want, &got, ear.heard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if got != want {
		t.Errorf("it was made ready for %+v, want %+v", got, want)
	}
	return r, ear
}

// Every message and its effect is the same at each distance.
func TestPlaces(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			r, ear := hire(t, place)
			at := time.Unix(1, 2).UTC()
			if err := errors.Join(r.Start(at), r.Tell("first"), r.Tell("second")); err != nil {
				t.Fatal(err)
			}
			var began time.Time
			if m := <-ear; m.err != nil || m.Type != Event || m.Into(&began) != nil || !began.Equal(at) {
				t.Errorf("%+v", m)
			}
			var words []string
			u, err := r.Sample(time.Minute, &words)
			if err != nil || u.UserNS+u.SystemNS == 0 || u.MaxRSS == 0 || !reflect.DeepEqual(words, []string{"first", "second"}) {
				t.Errorf("sampled %+v, %q, %v", u, words, err)
			}
			var end string
			if err := errors.Join(r.Stop(), r.Await(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if m := <-ear; m.Type != Done || m.Into(&end) != nil || end != "stopped" {
				t.Errorf("ended by %+v", m)
			}
			if _, err := r.Sample(time.Minute, nil); !matches(err, `^puppet( \(process \d+\))? has ended$`) {
				t.Errorf("after the end: %v", err)
			}
			r.Close()
			r.Close() // again, as a timeout and the end of a run may both do
			if err := r.Tell("late"); err == nil {
				t.Error("a word was sent to nobody")
			}
		})
	}
}

// A result comes after all events, also of a role that ends by itself.
func TestRoleEndsByItself(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			r, ear := hire(t, place)
			if err := errors.Join(r.Start(time.Time{}), r.Tell("end")); err != nil {
				t.Fatal(err)
			}
			if err := r.Await(time.Minute); err != nil {
				t.Fatal(err)
			}
			if first, second := <-ear, <-ear; first.Type != Event || second.Type != Done {
				t.Errorf("heard %+v, then %+v", first, second)
			}
		})
	}
}

// An agent that cannot do what it is told says why.
func TestAgentRefuses(t *testing.T) {
	prepare := func(s any) Message {
		m, err := Message{Type: Prepare, Role: "puppet"}.with(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	good := prepare(spec{})
	for _, tt := range []struct {
		name string
		say  []Message
		want string
	}{
		{"a spec it cannot meet", []Message{prepare(spec{Refuse: "no such address"})}, "^puppet: no such address$"},
		{"a spec of another form", []Message{prepare(7)}, "spec: json: cannot unmarshal number"},
		{"no spec", []Message{{Type: Prepare, Role: "puppet"}}, "spec: unexpected end"},
		{"a role that nobody registered", []Message{{Type: Prepare, Role: "dancer"}}, `cannot become "dancer"`},
		{"a second role", []Message{good, good}, `cannot become "puppet"`},
		{"start before prepare", []Message{{Type: Start}}, `said "start" before prepare`},
		{"no type", []Message{{}}, `said "" before prepare`},
		{"an unknown type", []Message{good, {Type: "dance"}}, `said "dance" to a puppet`},
		{"a word that its role refuses", []Message{good, {Type: Tell, Word: "refuse"}}, "will not"},
		{"an end that is an error", []Message{good, {Type: Tell, Word: "fail"}}, "no luck"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := Memory{roles}.Start("puppet")
			if err != nil {
				t.Fatal(err)
			}
			r := newRemote(conn, "puppet", nil)
			defer r.Close()
			for _, m := range tt.say {
				if err := conn.Send(m); err != nil {
					t.Fatal(err)
				}
				if m.Type == Prepare && len(tt.say) > 1 {
					select {
					case <-r.answers:
					case <-r.gone:
					}
				}
			}
			if err := r.Await(time.Minute); err != nil || !matches(r.why, tt.want) {
				t.Errorf("%v, ended by %v, want %q", err, r.why, tt.want)
			}
		})
	}
}

// An agent that does not answer is closed, and the error says what it was asked, after how long.
func TestSilentAgentIsNamed(t *testing.T) {
	for asked, ask := range map[string]func(*Remote) error{
		"sample": func(r *Remote) error { _, err := r.Sample(time.Hour, nil); return err },
		"end":    func(r *Remote) error { return errors.Join(r.Stop(), r.Await(time.Hour)) },
	} {
		t.Run(asked, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				defer close(over)
				r, err := New(Memory{Roles{"still": func() Role { return &stuck{over: over} }}}, "still", spec{}, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err, want := ask(r), "^still gave no answer within 1h0m0s when it was asked to "+asked+", so it was ended$"; !matches(err, want) {
					t.Errorf("%v, want %q", err, want)
				}
			})
		})
	}
}

// stuck is a role that hangs until the test is over.
type stuck struct {
	puppet
	over <-chan struct{}
}

func (s *stuck) Sample() (any, error) { <-s.over; return nil, nil }

func (s *stuck) Stop() error { return nil }
