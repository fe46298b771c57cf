package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpbench/internal/values"
	"tcpbench/scenarios"
)

// place is where a claim is shown.
type place string

const (
	anywhere   place = "auto" // in a lab, or on loopback if no lab can be made
	inLab      place = "lab"
	onLoopback place = "loopback"
)

func (p *place) register(c *cobra.Command, s *scenarios.Scenario, f *pflag.FlagSet) {
	if s.Phenomenon != nil && s.Phenomenon.Loopback == nil {
		return
	}
	f.Var(values.Word(p, anywhere, inLab, onLoopback), "where", "where a claim is shown that needs no lab: in a lab, on this host's loopback with other evidence, or on loopback only if no lab can be made")
}

// settle makes the scenario the one for loopback if it is shown there, and returns why there
// is no lab. It returns an empty string for a lab, and for a scenario that claims nothing.
func (p place) settle(s *scenarios.Scenario) (why string, err error) {
	able := s.Phenomenon != nil && s.Phenomenon.Loopback != nil
	switch {
	case p == onLoopback && !able:
		return "", usage("--where loopback: %s is not made for it; these are: %s", s.Name, strings.Join(ableOnLoopback(), ", "))
	case p == inLab && s.Phenomenon == nil:
		return "", usage("--where lab: %s claims nothing, and is no experiment: use tcpbench lab", s.Name)
	case p == inLab && s.Phenomenon.Host:
		return "", usage("--where lab: %s is a load of this host: use tcpbench lab", s.Name)
	case p == onLoopback:
		s.OnLoopback()
		return "--where loopback was given", nil
	case p == anywhere:
		return scenarios.ThisMachine().OnLoopback(s), nil
	}
	return "", nil
}

// ableOnLoopback are the scenarios of the catalogue that can be shown without a lab.
func ableOnLoopback() (names []string) {
	for _, s := range scenarios.Builtins() {
		if s.Phenomenon != nil && s.Phenomenon.Loopback != nil {
			names = append(names, s.Name)
		}
	}
	return names
}
