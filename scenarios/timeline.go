package scenarios

import (
	"context"
	"fmt"
	"time"

	"tcpbench/metrics"
)

// report is the moment as a result tells of it.
func (m *Moment) report() metrics.LabMoment {
	r := metrics.LabMoment{AtS: m.At.Seconds()}
	if m.ToServer != nil {
		r.ToServer = m.ToServer.String()
	}
	if m.ToClient != nil {
		r.ToClient = m.ToClient.String()
	}
	return r
}

// follow changes the link as its timeline says, from now on. The function that it returns
// ends that, and tells whether all went well.
func (v *Venue) follow() (end func() error) {
	if v == nil || len(v.Timeline) == 0 {
		return func() error { return nil }
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		began := time.Now()
		for _, m := range v.Timeline {
			timer := time.NewTimer(time.Until(began.Add(m.At)))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				done <- nil
				return
			}
			if err := v.Impair(m.ToServer, m.ToClient); err != nil {
				done <- fmt.Errorf("change the link after %v: %w", m.At, err)
				return
			}
		}
		done <- nil
	}()
	return func() error {
		stop()
		return <-done
	}
}
