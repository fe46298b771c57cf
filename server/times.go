package server

import (
	"fmt"
	"sync"

	"tcpbench/metrics"
)

// times are what one loop has measured. The lock is the loop's alone
// but for the moments in which somebody asks for the histograms.
type times struct {
	mu     sync.Mutex
	rtt    *metrics.Recorder
	detect *metrics.Recorder
	accept *metrics.Recorder
}

// record adds a duration to one of them, which is made on its first sample: most
// servers never ping.
func (t *times) record(to **metrics.Recorder, ns int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case *to != nil:
	case to == &t.accept:
		*to = metrics.NewCoarseRecorder(tick)
	default:
		*to = metrics.NewRecorder()
	}
	(*to).Record(ns)
}

// reset forgets what was measured so far.
func (t *times) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtt, t.detect, t.accept = nil, nil, nil
}

// Histograms are what the server has measured since it started, or since Mark, by name: how
// long a sample of its connections had waited for accept(), the round trips of its own pings,
// and how long it took to notice that a peer with a heartbeat was gone, from its last sign of
// life on. One without a sample is left out.
func (s *Server) Histograms() (map[string]metrics.Histogram, error) {
	merged := map[string]*metrics.Recorder{}
	for _, e := range s.engines {
		e.times.mu.Lock()
		for name, r := range map[string]*metrics.Recorder{metrics.Heartbeat: e.times.rtt, metrics.ServerDetect: e.times.detect, metrics.AcceptDelay: e.times.accept} {
			if r == nil {
				continue
			}
			if merged[name] == nil {
				merged[name] = r.Empty()
			}
			merged[name].Merge(r)
		}
		e.times.mu.Unlock()
	}
	named := map[string]metrics.Histogram{}
	for name, r := range merged {
		h, err := r.Export()
		if err != nil {
			return nil, fmt.Errorf("server's %s: %w", name, err)
		}
		named[name] = h
	}
	return named, nil
}
