package report

import (
	"fmt"
	"strings"
	"time"
)

// Progress is a run at one moment.
type Progress struct {
	Phase     string // of a scenario with several phases
	Event     string // what happened last in an experiment, whose line has nothing else
	Period    string // warm-up, measuring, draining
	Elapsed   time.Duration
	Planned   time.Duration // zero if time does not bound the run
	Rate      float64       // per second: succeeded, or opened if a population is held
	InFlight  int
	Succeeded uint64
	Failed    uint64
	// ConnectP99 is nanoseconds, zero if no connection was established.
	ConnectP99 int64
}

// ProgressLine writes a run's progress on one line of at most width columns; zero means 80. Cells are
// padded, so that numbers keep their place. If the line is too long, the least important cells go first.
func ProgressLine(p Progress, width int) string {
	if width <= 0 {
		width = usualWidth
	}
	if p.Event != "" {
		return clip(strings.TrimSpace(fmt.Sprintf("%s %.0f s · %s", clean(p.Phase), p.Elapsed.Seconds(), clean(p.Event))), width)
	}
	p99 := absent
	if p.ConnectP99 > 0 {
		p99 = Duration(p.ConnectP99)
	}
	stage := ""
	if p.Phase != "" {
		stage = clean(p.Phase) + " "
	}
	cells := []string{
		stage + pad(clean(p.Period), len("measuring")) + " " + clock(p.Elapsed, p.Planned),
		padLeft(Rate(p.Rate), len("25,132/s")),
		padLeft(Count(p.InFlight), len("1,024")) + " in flight",
		"connect p99 " + padLeft(p99, len("1.23 ms")),
		Count(p.Failed) + " failed",
		Count(p.Succeeded) + " succeeded",
	}
	const rate, inFlight, connect, failed, succeeded = 1, 2, 3, 4, 5
	for _, cell := range []int{succeeded, inFlight, connect, failed, rate} {
		if columns(join(cells)) <= width {
			break
		}
		cells[cell] = ""
	}
	return clip(join(cells), width)
}

func join(cells []string) string {
	line := cells[0]
	for _, cell := range cells[1:] {
		if cell != "" {
			line += "  " + cell
		}
	}
	return strings.TrimRight(line, " ")
}

// clock writes 0:04/0:10, or 0:04 if no end is planned.
func clock(elapsed, planned time.Duration) string {
	if planned <= 0 {
		return minutes(elapsed)
	}
	end := minutes(planned)
	return padLeft(minutes(elapsed), len(end)) + "/" + end
}

func minutes(d time.Duration) string {
	s := max(0, int64(d/time.Second))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
