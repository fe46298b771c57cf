package lab

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
)

func TestMain(m *testing.M) {
	if code, done := alone.Users(os.Stdin, os.Stdout, os.Stderr); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// newLab makes a lab. The test is skipped only if this machine refuses namespaces.
func newLab(t testing.TB, link Link) *Lab {
	t.Helper()
	l, err := New(link)
	var at *StepError
	if errors.As(err, &at) && at.Step == StepNamespace && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC)) {
		alone.Needed(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
