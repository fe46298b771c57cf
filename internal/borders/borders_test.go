package borders

import (
	"slices"
	"strings"
	"testing"
)

// A room is a package and what it may do. The module's own name is left out.
type room struct {
	path string
	unix bool // may import golang.org/x/sys: makes system calls of its own
	// pure packages compute: no files, no sockets, no clock. What they say can
	// be tested from their arguments alone.
	pure bool
	// prints may use stdout and stderr: only commands, which own the terminal.
	prints bool
}

// house has the highest floor first. A package imports from the floors below its
// own only, and never from next door.
var house = [][]room{
	{{path: "cmd/tcpbench", prints: true}, {path: "scripts/roofline/table", prints: true}, {path: "scripts/bar", prints: true}, {path: "scripts/document", prints: true}, {path: "scripts/architecture", prints: true}, {path: "scripts/container", prints: true, unix: true}},
	{{path: "scenarios"}},
	{{path: "scenarios/file"}},
	{{path: "scenarios/workload"}},
	{{path: "scenarios/stage"}, {path: "scenarios/expect"}},
	{{path: "scenarios/experiment", unix: true}},
	{{path: "scenarios/experiment/bench", unix: true}},
	{{path: "internal/cluster"}},
	{{path: "metrics/report", pure: true}},
	{{path: "metrics/diagnose", pure: true}, {path: "metrics/compare", pure: true}},
	{{path: "loadgen/sockets", unix: true}, {path: "loadgen/packet", unix: true}, {path: "server", unix: true}, {path: "internal/agent", unix: true}},
	{{path: "internal/lab", unix: true}, {path: "internal/epoll", unix: true}},
	{{path: "internal/machine", unix: true}, {path: "internal/kernel/trace"}},
	{{path: "internal/kernel", unix: true}},
	{{path: "internal/kernel/sysinfo", unix: true}},
	{{path: "internal/kernel/sockdiag", unix: true}},
	{{path: "loadgen", pure: true}},
	{{path: "metrics", pure: true}, {path: "loadgen/pace", pure: true}},
	{{path: "internal/wire", pure: true}, {path: "internal/values"}, {path: "internal/random", pure: true}, {path: "internal/borders"}, {path: "internal/cleanenv"}, {path: "internal/draft", unix: true}, {path: "internal/alone", unix: true}, {path: "internal/witness"}, {path: "internal/probe", unix: true}},
	{{path: "internal/namespace", unix: true}, {path: "internal/pcap", unix: true}, {path: "internal/segment", pure: true}},
}

// strangers never import each other, with all that is below their paths, in
// either direction and not even in tests: what client and server share is
// internal/wire.
var strangers = [][2]string{{"loadgen", "server"}}

// A file longer than this has two subjects. Tests may go on for longer.
const (
	maxLines     = 400
	maxTestLines = 600
)

func TestBorders(t *testing.T) {
	for _, complaint := range inspect(t, "../..") {
		t.Error(complaint)
	}
}

// TestBordersAreHeld shows that the test above can fail: a module of wrong
// packages goes through the same function, and each wrong is found.
func TestBordersAreHeld(t *testing.T) {
	sys := "golang.org/x/sys/unix: only " + callers() + " make system calls"
	const (
		command = "stdout and stderr belong to the command"
		down    = "and imports point downwards only"
		never   = "loadgen and server never import each other"
		noIO    = "a pure package does no I/O"
		told    = "a pure package is told the time"
	)
	want := []string{
		"attic: no room for this package: give it one in internal/borders/borders_test.go",
		"cmd/tcpbench/main.go:8: imports " + sys,
		"internal/lab: no doc comment says what the package is for",
		"internal/lab/lab.go:3: imports tcpbench/internal/epoll: next door, " + down,
		"internal/wire/wire.go:4: imports tcpbench/metrics: above, " + down,
		"loadgen/loadgen.go:6: imports os: " + noIO,
		"loadgen/loadgen.go:8: imports tcpbench/server: above, " + down,
		"loadgen/loadgen.go:8: imports tcpbench/server: " + never,
		"loadgen/loadgen.go:12: log.Print: " + command,
		"loadgen/loadgen.go:13: println: " + command,
		"loadgen/loadgen.go:14: stdio.Stderr: " + command,
		"metrics/long.go: 401 lines: more than 400 are two subjects",
		"metrics/long_test.go: 601 lines: more than 600 are two subjects",
		"metrics/metrics.go:5: imports fmt with a dot: write the name of the package",
		"metrics/metrics.go:6: imports net/http: " + noIO,
		"metrics/metrics.go:7: imports os: " + noIO,
		"metrics/metrics.go:10: imports golang.org/x/sys/unix: " + noIO,
		"metrics/metrics.go:10: imports " + sys,
		"metrics/metrics.go:15: when.Now: " + told,
		"metrics/metrics.go:16: os.Stdout: " + command,
		"metrics/metrics_windows.go:3: imports os/exec: " + noIO,
		"server/server.go:6: imports tcpbench/loadgen/packet: next door, " + down,
		"server/server.go:6: imports tcpbench/loadgen/packet: " + never,
		"server/server_test.go:3: imports tcpbench/loadgen/packet: " + never,
	}
	got := inspect(t, "testdata/wrong")
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not found: %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("found, but not wrong: %s", g)
		}
	}
}

// TestHouse holds what the table itself must be.
func TestHouse(t *testing.T) {
	seen := map[string]bool{}
	for floor, rooms := range house {
		for _, r := range rooms {
			if seen[r.path] {
				t.Errorf("%s has two rooms", r.path)
			}
			seen[r.path] = true
			if r.pure && (r.unix || r.prints) {
				t.Errorf("%s is pure and yet may do I/O", r.path)
			}
			if r.prints && floor > 0 {
				t.Errorf("%s prints below the commands", r.path)
			}
		}
	}
	for _, pair := range strangers {
		for _, path := range pair {
			if !seen[path] {
				t.Errorf("%s has strangers and no room", path)
			}
		}
	}
}

// find returns the room of a package and its floor, counted from the top.
func find(path string) (r room, floor int, ok bool) {
	for floor, rooms := range house {
		if i := slices.IndexFunc(rooms, func(r room) bool { return r.path == path }); i >= 0 {
			return rooms[i], floor, true
		}
	}
	return room{}, 0, false
}

// callers lists the packages that make system calls.
func callers() string {
	var paths []string
	for _, r := range slices.Concat(house...) {
		if r.unix {
			paths = append(paths, r.path)
		}
	}
	return strings.Join(paths, ", ")
}

// within tells whether a package is path or stands below it.
func within(pkg, path string) bool {
	return pkg == path || strings.HasPrefix(pkg, path+"/")
}
