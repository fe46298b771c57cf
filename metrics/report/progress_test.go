package report

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestProgressLine(t *testing.T) {
	now := Progress{
		Period: "measuring", Elapsed: 4*time.Second + 200*time.Millisecond, Planned: 10 * time.Second,
		Rate: 25_131.7, InFlight: 64, ConnectP99: 1_230_000, Failed: 3, Succeeded: 100_528,
	}
	unbound := Progress{Period: "warm-up", Elapsed: 3725 * time.Second}
	for _, tt := range []struct {
		name  string
		p     Progress
		width int
		want  string
	}{
		{"80 columns", now, 0, "measuring 0:04/0:10  25,132/s     64 in flight  connect p99 1.23 ms  3 failed"},
		{"wide", now, 120, "measuring 0:04/0:10  25,132/s     64 in flight  connect p99 1.23 ms  3 failed  100,528 succeeded"},
		{"60 columns", now, 60, "measuring 0:04/0:10  25,132/s  connect p99 1.23 ms  3 failed"},
		{"40 columns", now, 40, "measuring 0:04/0:10  25,132/s  3 failed"},
		{"30 columns", now, 30, "measuring 0:04/0:10  25,132/s"},
		{"20 columns", now, 20, "measuring 0:04/0:10"},
		{"10 columns", now, 10, "measuring…"},
		{"no end, no samples", unbound, 80, "warm-up   1:02:05       0/s      0 in flight  connect p99       –  0 failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ProgressLine(tt.p, tt.width); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestProgressLineFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Progress{
			Period:     rapid.String().Draw(t, "phase"),
			Elapsed:    time.Duration(rapid.Int64().Draw(t, "elapsed")),
			Planned:    time.Duration(rapid.Int64().Draw(t, "planned")),
			Rate:       rapid.Float64().Draw(t, "rate"),
			InFlight:   rapid.Int().Draw(t, "in flight"),
			ConnectP99: rapid.Int64().Draw(t, "p99"),
			Failed:     rapid.Uint64().Draw(t, "failed"),
			Succeeded:  rapid.Uint64().Draw(t, "succeeded"),
		}
		width := rapid.IntRange(1, 200).Draw(t, "width")
		line := ProgressLine(p, width)
		if n := columns(line); n > width {
			t.Fatalf("%d columns of %d: %q", n, width, line)
		}
		if clean(line) != line {
			t.Fatalf("control characters in %q", line)
		}
	})
	if line := ProgressLine(Progress{Rate: math.NaN()}, 0); columns(line) > usualWidth {
		t.Errorf("%q is longer than %d", line, usualWidth)
	}
}
