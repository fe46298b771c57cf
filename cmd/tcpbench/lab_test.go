package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/scenarios"
)

// traces are what a lab could leave on the host: devices, mounted namespaces, settings.
func traces(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		fmt.Fprintln(&b, "device", i.Name, i.Flags)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "nsfs") {
			b.WriteString("mount " + line)
		}
	}
	_ = filepath.WalkDir("/proc/sys/net", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "nf_conntrack_count") {
			return nil
		}
		if text, err := os.ReadFile(name); err == nil {
			fmt.Fprintf(&b, "setting %s %x\n", name, sha256.Sum256(text))
		}
		return nil
	})
	return b.String()
}

// namespaces are the network namespaces that processes of the program tcpbench are in or have open.
func namespaces(t *testing.T) map[string]bool {
	t.Helper()
	path, err := exec.LookPath("tcpbench")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	all, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range all {
		if i, err := os.Stat(exe); err != nil || !os.SameFile(i, program) {
			continue
		}
		files, _ := filepath.Glob(filepath.Dir(exe) + "/fd/*")
		for _, name := range append(files, filepath.Dir(exe)+"/ns/net") {
			if target, err := os.Readlink(name); err == nil && strings.HasPrefix(target, "net:") {
				seen[target] = true
			}
		}
	}
	return seen
}

func needLab(t *testing.T) {
	t.Helper()
	if err := scenarios.ThisMachine().Refuses(lab.CanLink); err != nil { // for the program, which makes it in users of its own if need be
		alone.Needed(t, err.Error())
	}
}

// Killed at any moment, a lab leaves nothing on the host: no namespace, no device, no
// process, no setting.
func TestALabDiesWithItsCoordinator(t *testing.T) {
	needLab(t)
	before, spaces := traces(t), namespaces(t)
	times := 12
	if os.Getenv("CI") == "true" {
		times = 50
	}
	for i := range times {
		mark := fmt.Sprintf("TCPBENCH_TEST=lab.%d.%d", os.Getpid(), i)
		cmd := exec.Command("tcpbench", "lab", "short", "--profile", "folklore", "--duration", "1h", "--warmup", "0s", "--connections", "4", "--quiet")
		cmd.Env = append(os.Environ(), mark)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(120 * time.Millisecond)))) // the moment is what is random
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if err := eventually("all processes are gone", func() bool { return len(marked(mark)) == 0 }); err != nil {
			t.Fatal(err)
		}
	}
	if after := traces(t); after != before {
		t.Errorf("the host was\n%s\nand is\n%s", before, after)
	}
	if err := eventually("all namespaces are gone", func() bool {
		for name := range namespaces(t) {
			if !spaces[name] {
				return false
			}
		}
		return true
	}); err != nil {
		t.Error(err)
	}
}
