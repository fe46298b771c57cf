package scenarios

import (
	"bytes"
	"embed"
	"path"
	"slices"
	"sync"

	"tcpbench/scenarios/file"
)

//go:embed catalogue/*.yaml
var catalogue embed.FS

// The built-in scenarios that others start from.
const (
	Short    = "short"
	Long     = "long"
	SYNBurst = "syn-burst"
)

// Names lists the catalogue: those to start from, and then the life of a connection from its
// first segment to its last.
var Names = []string{
	Short, Long, SYNBurst,
	"handshake", "simultaneous-open", "self-connect", "mss", "syn-loss", "backlog", "accept-overflow",
	"retransmit", "zero-window", "keepalive", "heartbeat-designs",
	"four-way-close", "three-way-close", "half-close", "simultaneous-close", "rst-close", "close-wait-leak", "fin-wait-2",
	"time-wait-length", "lost-last-ack", "time-wait-assassination",
	"time-wait-exhaustion", "time-wait-remedies", "port-search-cliff", "ephemeral-port-theft",
}

// Planned are phenomena that only crafted packets can show. They have a place in the
// catalogue, and nothing runs by their Names yet.
var Planned = []string{"old-duplicate-syn", "isn", "third-ack-data", "syn-retries", "syn-flood"}

// Builtins returns the scenarios that come with the program, in the order in which they
// are best read.
func Builtins() []*Scenario {
	var all []*Scenario
	for _, name := range Names {
		all = append(all, builtin(name))
	}
	return all
}

// Find returns the built-in scenario of that name, and whether there is one.
func Find(name string) (*Scenario, bool) {
	if !slices.Contains(Names, name) {
		return nil, false
	}
	return builtin(name), true
}

// Blank is a scenario that sets nothing.
func Blank() *Scenario { return &Scenario{Name: "run"} }

func fileOf(name string) string { return path.Join("catalogue", name+".yaml") }

// builtin is a scenario of the catalogue, for the caller to change: what changes a scenario
// replaces its parts, and leaves those of the parsed file alone.
func builtin(name string) *Scenario {
	s := *parsed[name]()
	return &s
}

// parsed reads each file of the catalogue once, when it is asked for. A test has found the files
// to be sound.
var parsed = func() map[string]func() *Scenario {
	all := map[string]func() *Scenario{}
	for _, name := range Names {
		all[name] = sync.OnceValue(func() *Scenario {
			text, err := catalogue.ReadFile(fileOf(name))
			if err != nil {
				panic(err)
			}
			s, err := file.Read(name+".yaml", bytes.NewReader(text))
			if err != nil {
				panic(err)
			}
			return s
		})
	}
	return all
}()
