// Package witness is for tests. It reads the kernel's counts in other ways than the program, to compare
// them: from /proc as text, and from ss and nstat of iproute2 if they are installed. Readings are of the
// calling process's network namespace.
package witness

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Readings are one fact by the name of what read it.
type Readings[T any] map[string]T

// proc is the name of readings from /proc.
const proc = "/proc"

// procStates are the states in /proc/net/tcp, in the kernel's numbering from 1.
var procStates = [...]string{
	"ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
	"CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "SYN_RECV",
}

// ssStates are the states as ss(8) calls them.
var ssStates = map[string]string{
	"ESTAB": "ESTABLISHED", "SYN-SENT": "SYN_SENT", "SYN-RECV": "SYN_RECV", "FIN-WAIT-1": "FIN_WAIT1",
	"FIN-WAIT-2": "FIN_WAIT2", "TIME-WAIT": "TIME_WAIT", "UNCONN": "CLOSE", "CLOSE-WAIT": "CLOSE_WAIT",
	"LAST-ACK": "LAST_ACK", "LISTEN": "LISTEN", "CLOSING": "CLOSING",
}

// socket is a line of /proc/net/tcp or /proc/net/tcp6.
type socket struct {
	port  uint64
	state string
	queue uint64 // of a listener: connections that wait for accept()
}

// sockets returns all of both families.
func sockets(t testing.TB) (all []socket) {
	t.Helper()
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) && name == "/proc/net/tcp6" {
			return all // a kernel without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			if i == 0 { // the headline
				continue
			}
			fields := strings.Fields(line)
			_, port, _ := strings.Cut(fields[1], ":")
			_, queue, _ := strings.Cut(fields[4], ":")
			state := number(t, fields[3], 16)
			if state < 1 || state > uint64(len(procStates)) {
				t.Fatalf("%s has the state %d: %s", name, state, line)
			}
			all = append(all, socket{number(t, port, 16), procStates[state-1], number(t, queue, 16)})
		}
	}
	return all
}

// States counts the TCP sockets by the names of their states.
func States(t testing.TB) Readings[map[string]int] {
	t.Helper()
	counts := map[string]int{}
	for _, s := range sockets(t) {
		counts[s.state]++
	}
	all := Readings[map[string]int]{proc: counts}
	if text, ok := tool(t, "ss", "-Htan"); ok {
		counts := map[string]int{}
		for line := range strings.Lines(text) {
			name, ok := ssStates[strings.Fields(line)[0]]
			if !ok {
				t.Fatalf("ss prints %s", line)
			}
			counts[name]++
		}
		all["ss"] = counts
	}
	return all
}

// Of is the state of the socket, not a listener, at a local port; "" if there is none.
func Of(t testing.TB, port uint16) Readings[string] {
	t.Helper()
	all := Readings[string]{proc: ""}
	for _, s := range sockets(t) {
		if s.port == uint64(port) && s.state != "LISTEN" {
			all[proc] = s.state
		}
	}
	if text, ok := tool(t, "ss", "-Htan", "sport", "=", strconv.Itoa(int(port))); ok {
		all["ss"] = ""
		for line := range strings.Lines(text) {
			if state := ssStates[strings.Fields(line)[0]]; state != "LISTEN" {
				all["ss"] = state
			}
		}
	}
	return all
}

// Queue is the accept queue of a listener.
type Queue struct{ Waiting, Limit int }

// UnknownLimit is the limit in a reading of /proc, which does not show it.
const UnknownLimit = -1

// Accept reads the accept queue of the listener at a port.
func Accept(t testing.TB, port uint16) Readings[Queue] {
	t.Helper()
	all := Readings[Queue]{}
	for _, s := range sockets(t) {
		if s.port == uint64(port) && s.state == "LISTEN" {
			all[proc] = Queue{int(s.queue), UnknownLimit}
		}
	}
	if _, ok := all[proc]; !ok {
		t.Fatalf("nobody listens at port %d in /proc/net/tcp", port)
	}
	if text, ok := tool(t, "ss", "-Htln", "sport", "=", strconv.Itoa(int(port))); ok {
		fields := strings.Fields(text)
		if len(fields) < 3 {
			t.Fatalf("ss prints %q of the listener at port %d", text, port)
		}
		all["ss"] = Queue{int(number(t, fields[1], 10)), int(number(t, fields[2], 10))}
	}
	return all
}

var (
	inSockstat = regexp.MustCompile(`(?m)^TCP: .*\btw (\d+)`)
	inSummary  = regexp.MustCompile(`timewait (\d+)`)
)

// TimeWait is the kernel's own sum of sockets in TIME_WAIT.
func TimeWait(t testing.TB) Readings[int] {
	t.Helper()
	read := func(pattern *regexp.Regexp, text string) int {
		m := pattern.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no TIME_WAIT in %q", text)
		}
		return int(number(t, m[1], 10))
	}
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	all := Readings[int]{proc: read(inSockstat, string(text))}
	if text, ok := tool(t, "ss", "-s"); ok {
		all["ss"] = read(inSummary, text)
	}
	return all
}

// Counters reads all counters by the names of nstat(8): TcpActiveOpens.
func Counters(t testing.TB) Readings[map[string]int64] {
	t.Helper()
	counts := map[string]int64{}
	for _, name := range []string{"/proc/net/snmp", "/proc/net/netstat"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var names []string // two lines belong together: names, and their values
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if names == nil {
				names = fields
				continue
			}
			for i, value := range fields[1:] {
				n, err := strconv.ParseInt(value, 10, 64)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				counts[strings.TrimSuffix(names[0], ":")+names[i+1]] = n
			}
			names = nil
		}
	}
	all := Readings[map[string]int64]{proc: counts}
	// Absolute values (-a), zeros too (-z), without a history (-s).
	if text, ok := tool(t, "nstat", "-a", "-s", "-z", "-j"); ok {
		var shown struct{ Kernel map[string]int64 }
		if err := json.Unmarshal([]byte(text), &shown); err != nil {
			t.Fatalf("nstat: %v", err)
		}
		all["nstat"] = shown.Kernel
	}
	return all
}

// tool runs a program. ok is false if it is not installed.
func tool(t testing.TB, name string, args ...string) (text string, ok bool) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		return "", false
	}
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out), true
}

func number(t testing.TB, text string, base int) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, base, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
