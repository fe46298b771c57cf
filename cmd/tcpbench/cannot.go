package main

import (
	"errors"
	"fmt"

	"tcpbench/internal/probe"
	"tcpbench/scenarios"
	"tcpbench/scenarios/experiment"
)

// cannot is the error of a run for which this machine lacks something.
func cannot(what string, because error, lift string) error {
	return exit{exitCannot, fmt.Errorf("this machine cannot %s: %w\nto allow it: %s\nto see what it can run: tcpbench list", what, because, lift)}
}

// failure is an error of a run: one that the machine refused says what stands in the way.
func failure(err error) error {
	var decided exit
	var strict scenarios.StrictError
	switch r, refused := probe.Explain(err); {
	case errors.As(err, &decided):
		return err
	case errors.As(err, &strict):
		return usage("--strict: %w", err)
	case refused:
		return cannot("make the lab of this run", r, r.Lift)
	case errors.Is(err, experiment.ErrNoIPv6):
		return cannot("run with --ipv6", err, "sysctl -w net.ipv6.conf.all.disable_ipv6=0, or a kernel with IPv6")
	}
	return exit{exitFailed, err}
}
