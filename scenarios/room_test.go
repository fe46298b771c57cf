package scenarios

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// Claims about sockets that the table of TIME_WAIT holds wait for room in it, and no others.
func TestWhoNeedsRoom(t *testing.T) {
	var names []string
	for _, s := range Builtins() {
		if s.OnLoopback() && countsTimeWait(s.Phenomenon) {
			names = append(names, s.Name)
		}
	}
	if want := []string{"fin-wait-2", "time-wait-length"}; !slices.Equal(names, want) {
		t.Errorf("%v wait for room, want %v", names, want)
	}
}

func TestAwaitRoom(t *testing.T) {
	looks, waited := 0, 0
	waits := func() { waited++ }
	after := func(n int) func() (bool, error) {
		looks = 0
		return func() (bool, error) { looks++; return looks > n, nil }
	}
	if err := waitForRoom(t.Context(), time.Hour, after(2), waits); err != nil || looks != 3 || waited != 1 {
		t.Errorf("%v after %d looks, told %d times", err, looks, waited)
	}
	if err := waitForRoom(t.Context(), time.Nanosecond, after(1000), waits); err == nil {
		t.Error("it waits for ever")
	}
	ended, end := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	end(why)
	if err := waitForRoom(ended, time.Hour, after(1000), waits); !errors.Is(err, why) {
		t.Error(err)
	}
	if err := waitForRoom(t.Context(), time.Hour, func() (bool, error) { return false, why }, waits); !errors.Is(err, why) {
		t.Error(err)
	}
}
