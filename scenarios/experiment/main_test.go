package experiment

import (
	"os"
	"testing"

	"tcpbench/internal/probe"
)

// Experiments need a lab: the tests are root of a user namespace, as the program is.
func TestMain(m *testing.M) {
	os.Exit(probe.Tests(m.Run, os.Stdin, os.Stdout, os.Stderr))
}
