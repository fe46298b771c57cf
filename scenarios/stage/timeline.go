package stage

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// Moment is a change of the link. An impairment that is nil stays as it was.
type Moment struct {
	At                 time.Duration // since the measured time began, or the population was there
	ToServer, ToClient *lab.Impairment
}

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

// follow changes the link as its timeline says, from now on. A change that fails is sent to
// failed at once. end ends the changes and returns that error; it may be called again.
func (v *Venue) follow() (failed <-chan error, end func() error) {
	if v == nil || len(v.Timeline) == 0 {
		return nil, func() error { return nil }
	}
	ctx, stop := context.WithCancel(context.Background())
	done, news := make(chan error, 1), make(chan error, 1)
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
				err = fmt.Errorf("change the link after %v: %w", m.At, err)
				done <- err
				news <- err
				return
			}
		}
		done <- nil
	}()
	return news, sync.OnceValue(func() error {
		stop()
		return <-done
	})
}
