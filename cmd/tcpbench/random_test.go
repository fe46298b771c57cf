package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/internal/alone"
	"tcpbench/scenarios"
)

// tiny are values of the flags that decide how much is done and for how long: little.
var tiny = map[string]string{
	"connections": "1 10 100", "burst": "1 50", "count": "1 20", "rate": "50 1k 100..500/100ms 10,100@50ms", "threads": "1 2 8", "server-loops": "1 2 8",
	"duration": "1ms 50ms 100ms", "warmup": "0s 20ms", "timeout": "1ms 50ms 300ms", "hold": "1ms 100ms", "every": "10ms 50ms", "gap": "0s 1ms 50ms", "stay": "0s 1ms 50ms",
	"open-rate": "100 1M", "exchange-rate": "100 1M", "close-rate": "100 1M", "exchanges": "1 2 10", "request-size": "0 1 4k 1M", "response-size": "0 1 4k 1M",
	"target": "127.0.0.1:9 $SERVER $SERVER,127.0.0.1:9 [::1]:9", "sources": "127.0.0.1 127.0.1.1-127.0.1.9 127.1.0.0/16 ::1", "ports": "9000 9000-9003", "local-ports": "20000-20009 30000-60000",
	"payload": `x {{n}}\n a\nb \x00`, "payload-file": "$FILE $DIR /dev/null /proc/self/maps", "hello": "x", "hello-until": "bytes:1", "until": "bytes:1 close x.*", "congestion": "reno bbr none",
	"expect": "rate>0 failed==0 x", "out": "$DIR/out.json /dev/null /none/x", "pcap": "$DIR/x.pcap", "format": "text json",
}

// nonsense are values that most flags refuse.
var nonsense = []string{"", "x", "-1", "NaN", "99999999999999999999", "9999999h", "1e9", "{{", "\xff", strings.Repeat("9", 1000)}

// randomCommand draws a command line of run that does little. root is made once, because cobra keeps
// the completions of every flag for ever.
func randomCommand(r *rand.Rand, root *cobra.Command, fill *strings.Replacer) []string {
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	name := pick([]string{scenarios.Short, scenarios.Short, scenarios.Long, scenarios.SYNBurst})
	c, _, err := root.Find([]string{"run", name})
	if err != nil {
		panic(err) // they come with the program
	}
	given := map[string]string{"timeout": "300ms", "duration": "100ms", "connections": "10", "warmup": "0s", "quiet": "true"}
	if name == scenarios.SYNBurst {
		given["burst"] = "20"
	}
	names := slices.DeleteFunc(flagNames(c), func(name string) bool { return name == "help" })
	for range r.IntN(5) {
		name := pick(names)
		kind := c.Flags().Lookup(name).Value.Type()
		m := aRange.FindStringSubmatch(kind)
		switch {
		case r.IntN(30) == 0:
			given[name] = pick(nonsense)
		case tiny[name] != "":
			given[name] = fill.Replace(pick(strings.Fields(tiny[name])))
		case m != nil:
			given[name] = pick(m[2:])
		case strings.Contains(kind, "|"):
			given[name] = pick(strings.Split(kind, "|"))
		case kind == "bool":
			given[name] = pick([]string{"true", "false"})
		default:
			given[name] = strconv.Itoa(r.IntN(100))
		}
		if given["hold"]+given["count"] != "" {
			delete(given, "duration")
		}
	}
	if given["count"] != "" { // nothing else ends the run
		given["every"], given["stay"] = cmp.Or(given["every"], "10ms"), cmp.Or(given["stay"], "1ms")
		if given["burst"] == "" {
			delete(given, "every")
		}
	}
	args := []string{"run", name}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		args = append(args, "--"+name+"="+given[name])
	}
	return args
}

const (
	mostMemory    = 1 << 30          // of one process, in bytes
	mostProcessor = 5 * time.Second  // of all processes of one command: more is a hang that spins
	mostWall      = 60 * time.Second // more is a hang that waits, on a machine however slow
)

// ended tells what is wrong with how a command ended, if anything is.
func ended(cmd *exec.Cmd, err error, stderr string) error {
	state := cmd.ProcessState
	if state == nil {
		return err
	}
	usage := state.SysUsage().(*syscall.Rusage) // of it and of the largest of its children
	switch code := state.ExitCode(); {
	case code < 0 || code > exitCannot:
		return fmt.Errorf("%v", state)
	case regexp.MustCompile(`(?m)^(panic:|fatal error:|goroutine \d+)`).MatchString(stderr):
		return errors.New("it panicked")
	case alone.UnderRace(): // the detector takes time and memory of its own
	case usage.Maxrss<<10 > mostMemory:
		return fmt.Errorf("it took %d bytes of memory", usage.Maxrss<<10)
	case state.UserTime()+state.SystemTime() > mostProcessor:
		return fmt.Errorf("it took %v of processor time", state.UserTime()+state.SystemTime())
	}
	return nil
}

// What scripts/random-commands says. It has made a network namespace.
var (
	randomTimes = flag.Int("random.times", 0, "how many command lines TestRandomCommands makes, in the namespace that it is in")
	randomSeed  = flag.Uint64("random.seed", 0, "of the command lines")
)

// Random command lines of the real program with tiny loads: none panics, hangs or takes much
// memory, and every one has an exit code that docs/exit-codes.md knows. scripts/random-commands
// runs many.
func TestRandomCommands(t *testing.T) {
	times, seed := *randomTimes, *randomSeed
	if times == 0 {
		if times = 12; !alone.Namespace(t) {
			return
		}
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	server, err := startForeign("lines", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	dir := t.TempDir()
	file := filepath.Join(dir, "payload")
	if err := os.WriteFile(file, []byte("x\ny\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$SERVER", server.listener.Addr().String(), "$FILE", file, "$DIR", dir)
	// A process that wants more memory than this ends as one that has none.
	limit := fmt.Sprintf(`ulimit -d %d; exec "$@"`, mostMemory>>10)
	if alone.UnderRace() { // its shadow memory is larger
		limit = `exec "$@"`
	}
	r, root, codes, mark := rand.New(rand.NewPCG(seed, 0)), newRoot(), map[int]int{}, "TCPBENCH_TEST=random-"+strconv.Itoa(os.Getpid())
	for range times {
		args := randomCommand(r, root, fill)
		ctx, cancel := context.WithTimeout(t.Context(), mostWall)
		cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", limit, "sh", "tcpbench"}, args...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), mark) // a name that --out takes is a file
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := ended(cmd, cmd.Run(), stderr.String())
		cancel()
		codes[cmd.ProcessState.ExitCode()]++
		if cmd.ProcessState.ExitCode() == exitFailed {
			t.Logf("failed: %q: %s", args, stderr.String())
		}
		if err != nil {
			t.Errorf("%q: %v\n%s", args, err, stderr.String())
		}
	}
	if left := marked(mark); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	t.Logf("%d command lines of seed %d, by exit code: %v", times, seed, codes)
}
