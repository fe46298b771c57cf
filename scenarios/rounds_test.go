package scenarios

import (
	"fmt"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/metrics/compare"
)

func profile(t *testing.T, name string, settings ...string) *lab.Profile {
	t.Helper()
	p := &lab.Profile{Name: name}
	for _, text := range settings {
		s, err := lab.ParseSetting(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Set(s)
	}
	return p
}

func compared(t *testing.T, rounds int, args string, arms ...Arm) []compare.Side {
	t.Helper()
	if l, err := lab.New(lab.Link{}); err != nil {
		alone.Needed(t, err.Error())
	} else {
		l.Close()
	}
	s, _ := Find(Short)
	var order []string
	c := Comparison{
		Scenario: s, Overrides: overrides(t, s, args), Arms: arms, Rounds: rounds, Seed: 7,
		Prepare: func(*Plan) {}, Progress: func(round int, a *Arm) { order = append(order, fmt.Sprint(round, a.Name)) },
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
	for try := 1; ; try++ {
		a := profile(t, "A")
		table := compare.Make(compared(t, 6, "--count 600", Arm{Name: "A", Client: a, Server: a}, Arm{Name: "A again", Client: a, Server: a}))
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
	plain := profile(t, "plain")
	few := profile(t, "few", "net.ipv4.tcp_max_tw_buckets=20")
	sides := compared(t, 7, "--count 300", Arm{Name: "A", Client: plain, Server: plain}, Arm{Name: "client few", Client: few, Server: plain}, Arm{Name: "server few", Client: plain, Server: few})
	for _, r := range compare.Make(sides).Rows {
		if r.Metric != "time_wait.max" {
			continue
		}
		// The client closes, so it has TIME_WAIT.
		if c := r.Cells; c[0].Median != 300 || c[1].Median != 20 || c[2].Median != 300 || !r.Deltas[0].Different || r.Deltas[1].Different {
			t.Errorf("%+v", r)
		}
		return
	}
	t.Error("no row of TIME_WAIT")
}
