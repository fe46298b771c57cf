// Package scenarios reads scenarios, plans their runs, and runs them (package stage).
package scenarios

import "tcpbench/scenarios/stage"

// Observer is told of the runs of a scenario while they go on; nil functions are not called.
type Observer struct {
	stage.Observer
	// Stage is called before each run.
	Stage func(*Stage)
}
