package stage

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/loadgen"
)

// fixed is a venue whose link cannot change, and a timeline that wants it to.
func fixed(t *testing.T, at time.Duration) *Venue {
	t.Helper()
	v, err := NewVenue(lab.Link{}, &machine.Profile{Name: "test"}, &machine.Profile{Name: "test"})
	if err != nil {
		alone.Needed(t, err.Error())
	}
	t.Cleanup(func() { v.Close() })
	v.Timeline = []Moment{{At: at, ToServer: &lab.Impairment{Loss: 1}}}
	return v
}

// A change of the link that fails ends the run when it fails, with its error: of a load, and of
// a population that is held.
func TestALinkThatCannotChangeEndsTheRun(t *testing.T) {
	for _, plan := range []Plan{endless(), held()} {
		name := plan.Client.Process
		plan.Lab = fixed(t, 50*time.Millisecond)
		ended := make(chan error, 1)
		go func() {
			_, err := Run(t.Context(), plan, Observer{})
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, lab.ErrFixed) || !strings.Contains(err.Error(), "change the link after 50ms") {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: the run goes on", name)
		}
	}
}

// A link that carries nothing any more ends the run by its name, and is not taken for a server that
// does not answer.
func TestABrokenLinkEndsTheRun(t *testing.T) {
	plan := endless()
	v, err := NewVenue(lab.Link{Changes: true}, &machine.Profile{Name: "test"}, &machine.Profile{Name: "test"})
	if err != nil {
		alone.Needed(t, err.Error())
	}
	t.Cleanup(func() { v.Close() })
	plan.Lab = v
	_, err = Run(t.Context(), plan, Observer{Period: func(p loadgen.Period) {
		if p == loadgen.Measuring {
			if err := v.Client.Do(func() error { return alone.Unplug("lab-c") }); err != nil {
				t.Error(err)
			}
		}
	}})
	if !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "the lab's link has failed: ") {
		t.Error(err)
	}
}

// The end of the changes may be asked for again, before the first of them and after one failed.
func TestTheEndOfChangesIsKnownAgain(t *testing.T) {
	for _, tt := range []struct {
		at   time.Duration
		want error
	}{{time.Hour, nil}, {0, lab.ErrFixed}} {
		failed, end := fixed(t, tt.at).follow()
		if tt.want != nil {
			if err := <-failed; !errors.Is(err, tt.want) {
				t.Error(err)
			}
		}
		for range 3 {
			if err := end(); !errors.Is(err, tt.want) {
				t.Errorf("at %v: %v", tt.at, err)
			}
		}
	}
}
