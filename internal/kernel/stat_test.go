package kernel

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	want := CPUTimes{User: 2949, Nice: 1, System: 2044, Idle: 190949, IOWait: 246, IRQ: 2, SoftIRQ: 32, Steal: 12}
	for _, text := range []string{
		"cpu  2949 1 2044 190949 246 2 32 12 5 6\ncpu0 1334 0 879 95875 13 0 7 4 0 0\n",
		"cpu  2949 1 2044 190949 246 2 32 12\nintr 2",
	} {
		got, err := parseStat([]byte(text))
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                          "ends within",
		"cpu  1 2 3 4 5 6 7 8":                      "ends within",
		"cpu0 1 2 3 4 5 6 7 8\n":                    "want the line of all processors",
		"cpu  1 2 3 4 5 6 7\n":                      "want 8 times",
		"cpu 1 2 3 4 5 6 7 8\n":                     "want 8 times",
		"cpu  1 2 3  4 5 6 7 8\n":                   "want 8 times",
		"cpu  1 2 3 x 5 6 7 8\n":                    `not "x"`,
		"cpu  1 2 3 -4 5 6 7 8\n":                   `not "-4"`,
		"\ncpu  1 2 3 4 5 6 7 8\n":                  "want the line of all processors",
		"cpu  1 2 3 99999999999999999999 5 6 7 8\n": "want a time",
	} {
		if _, err := parseStat([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestCPUTimesSub(t *testing.T) {
	earlier := CPUTimes{User: 1000, Nice: 10, System: 500, Idle: 9000, IOWait: 70, IRQ: 5, SoftIRQ: 50, Steal: 20}
	plus := func(d CPUTimes) CPUTimes {
		return CPUTimes{earlier.User + d.User, earlier.Nice + d.Nice, earlier.System + d.System, earlier.Idle + d.Idle,
			earlier.IOWait + d.IOWait, earlier.IRQ + d.IRQ, earlier.SoftIRQ + d.SoftIRQ, earlier.Steal + d.Steal}
	}
	for _, c := range []struct {
		name string
		now  CPUTimes
		want CPUShares
	}{
		{"no time", earlier, CPUShares{}},
		{"idle", plus(CPUTimes{Idle: 100}), CPUShares{}},
		{"waiting for a disk is idle", plus(CPUTimes{IOWait: 50, User: 50}), CPUShares{Busy: .5}},
		{"all of it", plus(CPUTimes{User: 10, Nice: 10, System: 10, Idle: 30, IOWait: 10, IRQ: 10, SoftIRQ: 10, Steal: 10}),
			CPUShares{Busy: .5, SoftIRQ: .1, Steal: .1}},
		{"idle and iowait step back", func() CPUTimes {
			t := plus(CPUTimes{User: 75, Steal: 25})
			t.Idle, t.IOWait = t.Idle-1, t.IOWait-3
			return t
		}(), CPUShares{Busy: .75, Steal: .25}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.now.Sub(earlier)
			if math.Abs(got.Busy-c.want.Busy)+math.Abs(got.SoftIRQ-c.want.SoftIRQ)+math.Abs(got.Steal-c.want.Steal) > 1e-9 {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestStatOfThisMachine(t *testing.T) {
	before, err := Stat()
	if err != nil {
		t.Fatal(err)
	}
	// Work for some ticks of 10 ms, so that there is a share to tell.
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
	}
	after, err := Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := after.Sub(before)
	if s.Busy+s.Steal <= 0 || s.Busy+s.Steal > 1 || s.Steal < 0 || s.SoftIRQ < 0 || s.SoftIRQ > s.Busy {
		t.Errorf("after 50 ms of work: got %+v, want shares of a whole, and some", s)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("cpu  2949 0 2044 190949 246 0 32 12 0 0\ncpu0 1334 0 879 95875 13 0 7 4 0 0\n"))
	f.Add([]byte("cpu  9223372036854775807 1 1 1 1 1 1 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		now, err := parseStat(text)
		if err != nil {
			return
		}
		for _, earlier := range []CPUTimes{{}, now, {User: 1 << 63, Idle: 5, Steal: 7}} {
			s := now.Sub(earlier)
			if !(s.Busy >= 0 && s.Steal >= 0 && s.SoftIRQ >= 0 && s.SoftIRQ <= s.Busy && s.Busy+s.Steal <= 1+1e-9) {
				t.Errorf("%+v less %+v: %+v", now, earlier, s)
			}
		}
	})
}

func BenchmarkStat(b *testing.B) {
	for b.Loop() {
		if _, err := Stat(); err != nil {
			b.Fatal(err)
		}
	}
}
