package lab

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/probe"
)

func TestMain(m *testing.M) {
	os.Exit(probe.Tests(m.Run, os.Stdin, os.Stdout, os.Stderr))
}

// newLab makes a lab. The test is skipped only if this machine refuses namespaces.
func newLab(t testing.TB, link Link) *Lab {
	t.Helper()
	l, err := New(link)
	var at *probe.Failure
	if errors.As(err, &at) && at.Step == probe.StepNamespace && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC)) {
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
