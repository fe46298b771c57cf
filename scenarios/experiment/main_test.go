package experiment

import (
	"os"
	"testing"

	"tcpbench/internal/alone"
)

// Experiments need a lab: the tests are root of a user namespace, as the program is.
func TestMain(m *testing.M) {
	if code, done := alone.Users(os.Stdin, os.Stdout, os.Stderr); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
