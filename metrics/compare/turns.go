package compare

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// turnsShare is the share of the results that must lie in whole rounds for the sides to have run in
// turns. A few runs may be missing.
const turnsShare = 0.75

// inTurns groups results into rounds: neighbours in time, one of each side. If the sides did not run in
// turns, it returns the reason and no rounds. Then tests would be wrong: of ten runs and the next ten
// of the same thing half show a difference, because a machine drifts (TestOneAfterTheOther).
func inTurns(sides []Side) (rounds [][]*metrics.Result, untested string) {
	type run struct {
		side   int
		result *metrics.Result
	}
	var all []run
	for i, s := range sides {
		if len(s.Results) < 2 {
			return nil, fmt.Sprintf("%s has a single result, and one run does not tell noise from difference", s.Name)
		}
		for _, r := range s.Results {
			if r.Started.IsZero() {
				return nil, "the results do not tell when they were taken, so nobody knows whether the sides ran in turns"
			}
			all = append(all, run{i, r})
		}
	}
	slices.SortStableFunc(all, func(a, b run) int { return a.result.Started.Compare(b.result.Started) })
	round, have := make([]*metrics.Result, len(sides)), 0
	for _, r := range all {
		if round[r.side] != nil { // the round before lacks a side
			round, have = make([]*metrics.Result, len(sides)), 0
		}
		round[r.side] = r.result
		if have++; have == len(sides) {
			rounds = append(rounds, round)
			round, have = make([]*metrics.Result, len(sides)), 0
		}
	}
	least := slices.MinFunc(sides, func(a, b Side) int { return cmp.Compare(len(a.Results), len(b.Results)) })
	if float64(len(rounds)) < turnsShare*float64(len(least.Results)) {
		return nil, "the sides did not run in turns. A machine drifts, and the drift between one series and the next looks like a difference"
	}
	return rounds, ""
}

// again is the command that would decide: the comparison that made the results, or both commands in
// turns, each first as often as second.
func again(sides []Side, rounds int) string {
	commands := make([][]string, len(sides))
	for i, s := range sides {
		if len(s.Results) > 0 {
			commands[i] = s.Results[0].Command
		}
	}
	first, second := commands[0], commands[1]
	if len(first) < 2 || len(second) < 2 || len(sides) > 2 {
		return fmt.Sprintf("tcpbench compare SCENARIO --profile A --profile B --rounds %d", rounds)
	}
	if first[1] == "compare" && slices.Equal(first, second) {
		return fmt.Sprintf("%s --rounds %d", words(withoutOutput(first)), rounds)
	}
	a, b := words(withoutOutput(first)), words(withoutOutput(second))
	out := func(command, name string) string { return fmt.Sprintf("%s --out %s.json; ", command, name) }
	return fmt.Sprintf("for i in $(seq %d); do ", (rounds+1)/2) +
		out(a, "a.$i.1") + out(b, "b.$i.1") + out(b, "b.$i.2") + out(a, "a.$i.2") +
		"done; tcpbench diff a.*.json -- b.*.json"
}

// ownFlags are those that again sets itself, or leaves out.
var ownFlags = []string{"--out", "--save", "--rounds"}

// withoutOutput is a command without its own flags.
func withoutOutput(command []string) (rest []string) {
	for i := 0; i < len(command); i++ {
		name, _, joined := strings.Cut(command[i], "=")
		switch {
		case i == 0:
			rest = append(rest, path.Base(command[0]))
		case slices.Contains(ownFlags, name):
			if !joined {
				i++
			}
		default:
			rest = append(rest, command[i])
		}
	}
	return rest
}

// words quotes a command for a shell.
func words(command []string) string {
	quoted := make([]string, len(command))
	for i, w := range command {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`!*?[](){}<>|&;#~") {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
