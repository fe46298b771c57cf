package scenarios

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/metrics/compare"
	"tcpbench/scenarios/stage"
)

func profile(t *testing.T, name string, settings ...string) *machine.Profile {
	t.Helper()
	p := &machine.Profile{Name: name}
	for _, text := range settings {
		s, err := machine.ParseSetting(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Set(s)
	}
	return p
}

// needsLabs skips where no lab can be made.
func needsLabs(t *testing.T) {
	t.Helper()
	if l, err := lab.New(lab.Link{}); err != nil {
		alone.Needed(t, err.Error())
	} else {
		l.Close()
	}
}

func compared(t *testing.T, rounds int, args string, arms ...Arm) []compare.Side {
	t.Helper()
	needsLabs(t)
	s, _ := Find(Short)
	var order []string
	c := Comparison{
		Scenario: s, Options: Options{Overrides: overrides(t, s, args)}, Arms: arms, Rounds: rounds, Seed: 7,
		Progress: func(round int, a *Arm) { order = append(order, fmt.Sprint(round, a.Name)) },
	}
	sides, err := c.Run(t.Context(), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	if len(order) != rounds*len(arms) {
		t.Errorf("%d runs: %v", len(order), order)
	}
	for _, side := range sides {
		for _, r := range side.Results {
			if err := r.Balance(); err != nil || r.Flagged("invalid") {
				t.Errorf("%s: %v: %+v", side.Name, err, r.Flags)
			}
		}
	}
	return sides
}

// A thing compared with itself, for real. One time of twenty a table may err, and so it
// may once, and not twice.
func TestAAgainstA(t *testing.T) {
	t.Parallel()
	for try := 1; ; try++ {
		a := profile(t, "A")
		table := compare.Make(compared(t, 12, "--count 600", Arm{Name: "A", Client: a, Server: a}, Arm{Name: "A again", Client: a, Server: a}))
		if table.Paired != 12 || table.Enough >= 12 {
			t.Fatalf("%d rounds in turns, %d are enough: nothing could be shown", table.Paired, table.Enough)
		}
		wrong := ""
		for _, r := range table.Rows {
			if r.Deltas[0].Different {
				wrong += fmt.Sprintf("%s: %+v\n", r.Metric, r)
			}
		}
		if wrong == "" {
			return
		}
		t.Logf("try %d: %s", try, wrong)
		if try == 2 {
			t.Fatal("twice a difference where there is none")
		}
	}
}

// Settings of one host are that host's alone, and what they do is found.
func TestASettingThatMatters(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long")
	}
	plain := profile(t, "plain")
	few := profile(t, "few", "net.ipv4.tcp_max_tw_buckets=20")
	sides := compared(t, 12, "--count 300", Arm{Name: "A", Client: plain, Server: plain}, Arm{Name: "client few", Client: few, Server: plain}, Arm{Name: "server few", Client: plain, Server: few})
	for _, r := range compare.Make(sides).Rows {
		if r.Metric != "TIME_WAIT.max/conn" {
			continue
		}
		// The client closes, so it has TIME_WAIT.
		if c := r.Cells; c[0].Median != 1 || c[1].Median != 20.0/300 || c[2].Median != 1 || !r.Deltas[0].Different || r.Deltas[1].Different {
			t.Errorf("%+v", r)
		}
		return
	}
	t.Error("no row of TIME_WAIT")
}

// What is left of a run's lab when the next one begins disturbs it: a comparison waits for its
// end, and flags the next result if it does not come.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	needsLabs(t)
	s, _ := Find(Short)
	a := profile(t, "A")
	for name, hold := range map[string]bool{"none": false, "a socket holds the lab": true} {
		t.Run(name, func(t *testing.T) {
			c := Comparison{
				Scenario: s, Options: Options{Overrides: overrides(t, s, "--count 50")}, Rounds: 1,
				Arms: []Arm{{Name: "A", Client: a, Server: a}, {Name: "B", Client: a, Server: a}},
			}
			holds := Observer{Lab: func(v *stage.Venue) error {
				if !hold {
					return nil
				}
				return v.Client.Do(func() error {
					l, err := net.Listen("tcp4", "127.0.0.1:0")
					if err == nil {
						t.Cleanup(func() { l.Close() })
					}
					return err
				})
			}}
			if hold {
				c.purge = 50 * time.Millisecond
			}
			sides, err := c.Run(t.Context(), holds)
			if err != nil {
				t.Fatal(err)
			}
			flagged := 0
			for _, side := range sides {
				if side.Results[0].Flagged(compare.Leftovers) {
					flagged++
				}
			}
			if want := map[bool]int{false: 0, true: 1}[hold]; flagged != want {
				t.Errorf("%d of 2 results are flagged, want %d", flagged, want)
			}
		})
	}
}

// A profile of which the kernel takes nothing is nothing to compare. Lines that it does not take
// are an error only if that is asked for.
func TestProfilesThatAreNotTaken(t *testing.T) {
	t.Parallel()
	needsLabs(t)
	s, _ := Find(Short)
	plain := profile(t, "plain")
	for _, tt := range []struct {
		settings        []string
		strict, ablated bool
		want            string
	}{
		{settings: []string{"net.ipv4.no_such=1"}, want: "nothing of it could be applied, so there is nothing to compare:\n  net.ipv4.no_such = 1: this kernel has no such setting"},
		{settings: []string{"net.ipv4.no_such=1"}, ablated: true},
		{settings: []string{"net.ipv4.no_such=1", "net.ipv4.tcp_fin_timeout=7"}},
		{settings: []string{"net.ipv4.no_such=1", "net.ipv4.tcp_fin_timeout=7"}, strict: true, want: "net.ipv4.no_such = 1 is unknown: this kernel has no such setting"},
		{settings: []string{"kernel.threads-max=1"}, want: "it is the machine's, and no namespace has its own; it is "},
		{settings: []string{"net.ipv4.tcp_fin_timeout=7"}, strict: true},
	} {
		odd := profile(t, "odd", tt.settings...)
		c := Comparison{
			Scenario: s, Options: Options{Overrides: overrides(t, s, "--count 20")}, Rounds: 1, Strict: tt.strict,
			Arms: []Arm{{Name: "A", Client: plain, Server: plain}, {Name: "B", Client: odd, Server: odd, Ablated: tt.ablated}},
		}
		sides, err := c.Run(t.Context(), Observer{})
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%+v: %v", tt, err)
		case err == nil:
			// What the kernel took is compared, whoever's profile names it.
			told := fmt.Sprint(compare.Of(sides).Differences)
			if strings.Contains(told, "not all sides tell") || strings.Contains(told, "tcp_fin_timeout") != (len(tt.settings) > 1 || tt.strict) {
				t.Errorf("%+v: %s", tt, told)
			}
		}
	}
}
