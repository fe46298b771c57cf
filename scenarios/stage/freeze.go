package stage

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"tcpbench/internal/agent"
)

// Freeze stops a side's processes for a time: a peer that is there and does nothing. It stands
// in for a link that is cut, but the kernel of a stopped process acknowledges still.
type Freeze struct {
	Side Side
	At   time.Duration // since the measured time began, or the population was there
	For  time.Duration
}

func (f *Freeze) String() string {
	return fmt.Sprintf("the %s is stopped after %v, for %v", f.Side, f.At, f.For)
}

// follow begins what happens while the load runs, from now on: the link of a lab changes, or
// processes are stopped for a time. A change of the link that fails is sent to failed at once. end
// ends the changes, and returns the error of one that failed. After it freezeLate is how late the
// processes were stopped, at most.
func (s *stage) follow() (failed <-chan error, end func() error) {
	f := s.plan.Freeze
	if f == nil {
		return s.plan.Lab.follow()
	}
	all := s.servers
	if f.Side == Client {
		all = s.clients
	}
	over := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		began := time.Now()
		if !waits(began.Add(f.At), over) {
			done <- nil
			return
		}
		err := each(all, (*agent.Remote).Freeze)
		s.freezeLate = time.Since(s.earliest.Add(f.At))
		waits(began.Add(f.At+f.For), over)
		done <- errors.Join(err, each(all, (*agent.Remote).Thaw))
	}()
	return nil, sync.OnceValue(func() error {
		close(over)
		return <-done
	})
}

// waits returns true at a time, or false when there is nothing to wait for any more.
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
