package lab

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/probe"
)

func TestMain(m *testing.M) {
	code, done, err := probe.Own(os.Stdin, os.Stdout, os.Stderr)
	switch {
	case done:
		os.Exit(code)
	case err != nil:
		fmt.Fprintln(os.Stderr, "tests that need a namespace are skipped:", err)
	}
	os.Exit(m.Run())
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
