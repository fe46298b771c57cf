package bench

import (
	"fmt"
	"os"
	"testing"

	"tcpbench/internal/probe"
)

// Experiments need a lab: the tests are root of a user namespace, as the program is.
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
