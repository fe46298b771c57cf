package scenarios

import "tcpbench/scenarios/file"

// What a scenario file says.
type (
	Scenario  = file.Scenario
	PhasePlan = file.PhasePlan
)
