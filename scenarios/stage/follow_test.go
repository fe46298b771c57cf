package stage

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
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
		failed, end := follow(newStage(&Plan{Lab: fixed(t, tt.at)}, Observer{}).acts())
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

// A side that was stopped goes on, also if the run ends before its time or the other act failed.
func TestWhatWasStoppedGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ends := range []time.Duration{0, 90 * time.Second, time.Hour} {
			s := newStage(&Plan{Freeze: &Freeze{Side: Server, At: time.Minute, For: time.Minute}}, Observer{})
			s.earliest = time.Now()
			acts := s.acts()
			var did []string
			for i, name := range []string{"freeze", "thaw"} {
				do := acts[i].do
				acts[i].do = func() error {
					did = append(did, fmt.Sprint(name, " ", time.Since(s.earliest)))
					return do()
				}
			}
			_, end := follow(acts)
			time.Sleep(ends)
			want := map[time.Duration]string{0: "[thaw 0s]", 90 * time.Second: "[freeze 1m0s thaw 1m30s]", time.Hour: "[freeze 1m0s thaw 2m0s]"}[ends]
			if err := end(); err != nil || fmt.Sprint(did) != want {
				t.Errorf("ended after %v: %v, %v, want %s", ends, did, err, want)
			}
		}
	})
}
