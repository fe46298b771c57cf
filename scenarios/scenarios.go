// Package scenarios has the catalogue, and runs scenarios: their plans by package stage, in labs and
// in rounds.
package scenarios

import (
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/stage"
)

// What a scenario file says.
type (
	Scenario = file.Scenario
	Stage    = file.Stage
)

// Observer is told of the runs of a scenario while they go on; nil functions are not called.
type Observer struct {
	stage.Observer
	// Stage is called before each run.
	Stage func(*Stage)
}
