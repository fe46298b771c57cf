package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/stage"
)

// terminal returns the descriptor of a writer that is a terminal.
func terminal(w io.Writer) (fd int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// colored follows no-color.org.
func colored(w io.Writer) bool {
	_, ok := terminal(w)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// widest is as wide as a table is pleasant to read.
const widest = 100

// columns is the width of a terminal, and zero for anything else.
func columns(w io.Writer) int {
	fd, ok := terminal(w)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(fd)
	if err != nil {
		return 0
	}
	return min(width, widest)
}

// progress is the line that moves on a terminal while a run goes on.
type progress struct {
	w                 io.Writer // nil if w is no terminal
	warnings          io.Writer
	mu                sync.Mutex
	warmup, planned   time.Duration
	started           time.Time // of the phase
	stage             string    // of a scenario with several
	rounds            string    // which run it is, of a comparison
	event             string    // what happened last, of an experiment
	phase             loadgen.Period
	succeeded, failed uint64
	holds             bool // a population, whose connections end after the measured time
	last              metrics.Row
	shown             bool
	done              chan struct{}
	finished          sync.WaitGroup
}

// newProgress returns a line that stays empty if w is no terminal that can redraw it.
func newProgress(w io.Writer, quiet bool) *progress {
	p := &progress{w: w, warnings: w, done: make(chan struct{}), started: time.Now()}
	if quiet {
		p.warnings = nil
	}
	if _, ok := terminal(w); !ok || quiet || os.Getenv("TERM") == "dumb" {
		p.w = nil
		return p
	}
	p.finished.Add(1)
	go p.tick()
	return p
}

func (p *progress) observer() scenarios.Observer {
	return scenarios.Observer{
		Event:   p.happened,
		Waiting: func() { p.round("waiting, up to a minute, until the table of TIME_WAIT has room") },
		Phase: func(s *scenarios.PhasePlan) {
			p.mu.Lock()
			c := &s.Plan.Client
			p.stage, p.warmup, p.planned = strings.TrimSpace(p.rounds+" "+s.Name), c.Warmup, max(c.Duration, c.HoldFor)
			p.succeeded, p.failed, p.holds = 0, 0, c.HoldFor > 0
			p.mu.Unlock()
		},
		Observer: stage.Observer{
			Forecast: p.warn,
			Period: func(phase loadgen.Period) {
				p.mu.Lock()
				p.phase, p.started = phase, time.Now()
				p.mu.Unlock()
			},
			Row: func(row metrics.Row) {
				p.mu.Lock()
				p.last = row
				p.succeeded += row.Succeeded
				p.failed += row.Failed
				p.mu.Unlock()
			},
		},
	}
}

// round says which of several runs is under way.
func (p *progress) round(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rounds = what
}

// happened is told of an experiment's events.
func (p *progress) happened(e metrics.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.event = loadgen.Measuring, strings.TrimSpace(e.Of+" "+e.Text)
}

// warn shows what is likely to go wrong, by the host's settings.
func (p *progress) warn(forecast []metrics.Finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.warnings == nil {
		return
	}
	if p.shown { // the line of an earlier phase
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	// A terminal that is gone takes the progress with it, too.
	_ = report.Warnings(p.warnings, forecast, report.Style{Color: colored(p.warnings), Width: columns(p.warnings)})
}

// tick draws the line a few times a second, so that the clock runs although a row comes
// once a second.
func (p *progress) tick() {
	defer p.finished.Done()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.draw()
		case <-p.done:
			return
		}
	}
}

func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == "" {
		return
	}
	planned, phase := p.planned, p.stage
	if p.event != "" {
		phase = p.rounds
	}
	if p.phase == loadgen.WarmingUp {
		planned = p.warmup
	}
	if p.phase == loadgen.Draining {
		planned = 0
	}
	rate := p.last.Succeeded
	if p.holds {
		rate = p.last.Attempted
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", report.ProgressLine(report.Progress{
		Phase: phase, Period: string(p.phase), Event: p.event, Elapsed: time.Since(p.started), Planned: planned,
		Rate: float64(rate), InFlight: p.last.InFlight,
		Succeeded: p.succeeded, Failed: p.failed, ConnectP99: p.last.ConnectP99,
	}, columns(p.w)-len("^C"))) // which the terminal echoes after it
	p.shown = true
}

// clear takes the line away until it is drawn again.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
	p.event = ""
}

// end takes the line away.
func (p *progress) end() {
	close(p.done)
	p.finished.Wait()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
