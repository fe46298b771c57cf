package stage

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// Moment is a change of the link. An impairment that is nil stays as it was.
type Moment struct {
	At                 time.Duration // since the measured time began, or the population was there
	ToServer, ToClient *lab.Impairment
}

// report is the moment in the words of the result.
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

// Freeze stops a side's processes for a time: a peer that is there and does nothing. It stands in
// for a link that is cut, except that the kernel of a stopped process still acknowledges.
type Freeze struct {
	Side Side
	At   time.Duration // since the measured time began, or the population was there
	For  time.Duration
}

func (f *Freeze) String() string {
	return fmt.Sprintf("the %s is stopped after %v, for %v", f.Side, f.At, f.For)
}

// act is something that happens to the link or to processes while the load runs.
type act struct {
	at     time.Duration
	do     func() error
	always bool // also if the run ends before, or an act before it failed
}

func (s *stage) acts() (all []act) {
	if f := s.plan.Freeze; f != nil {
		side := s.servers
		if f.Side == Client {
			side = s.clients
		}
		return []act{{at: f.At, do: func() error {
			err := each(side, (*agent.Remote).Freeze)
			s.freezeLate = time.Since(s.earliest.Add(f.At))
			return err
		}}, {at: f.At + f.For, do: func() error { return each(side, (*agent.Remote).Thaw) }, always: true}}
	}
	if s.plan.Lab == nil {
		return nil
	}
	for _, m := range s.plan.Lab.Timeline {
		all = append(all, act{at: m.At, do: func() error {
			if err := s.plan.Lab.Impair(m.ToServer, m.ToClient); err != nil {
				return fmt.Errorf("change the link after %v: %w", m.At, err)
			}
			return nil
		}})
	}
	return all
}

// follow begins the acts, which count their time from now on. An error is sent to failed at once.
// end ends the acts and returns the error; it may be called again.
func follow(acts []act) (failed <-chan error, end func() error) {
	over, done, news := make(chan struct{}), make(chan error, 1), make(chan error, len(acts))
	go func() {
		began := time.Now()
		var err error
		for _, a := range acts {
			if (err != nil || !waits(began.Add(a.at), over)) && !a.always {
				continue
			}
			if e := a.do(); e != nil {
				err = errors.Join(err, e)
				news <- e
			}
		}
		done <- err
	}()
	return news, sync.OnceValue(func() error {
		close(over)
		return <-done
	})
}

// waits waits for a time and returns true, or returns false when over is closed before.
func waits(until time.Time, over <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}
