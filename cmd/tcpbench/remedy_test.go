package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// complaint tells what an error message lacks: what was tried, or what to do.
func complaint(stderr string) string {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		for errno := syscall.Errno(1); errno < 134; errno++ {
			words := regexp.QuoteMeta(errno.Error())
			switch {
			case strings.HasSuffix(line, errno.Error()):
				return "what to do: " + line
			case regexp.MustCompile(`^tcpbench: ([a-z0-9_]+(\([A-Z_]+\))?: )?` + words + `(:|$)`).MatchString(line):
				return "what was tried: " + line
			}
		}
	}
	return ""
}

// A check that cannot fail shows nothing.
func TestComplaint(t *testing.T) {
	for text, wanted := range map[string]string{
		"tcpbench: setns: operation not permitted\n":                     "what to do",
		"tcpbench: setns: operation not permitted: run as root\n":        "what was tried",
		"tcpbench: no such file or directory: look at it\n":              "what was tried",
		"tcpbench: listen on [::]:80: bind: address already in use\n":    "what to do",
		"tcpbench: enter the lab: setns: operation not permitted: do so": "",
		"1 packet in x.pcap\n":                                           "",
	} {
		if got := complaint(text); !strings.HasPrefix(got, wanted) || wanted == "" && got != "" {
			t.Errorf("%q: %q, want %q", text, got, wanted)
		}
	}
}

// When the system refuses something, the message says what was tried and what to do.
func TestFailuresSayWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) // after the subtests
	_, busy, _ := net.SplitHostPort(l.Addr().String())
	bad := filepath.Join(dir, "bad.json")
	if err := errors.Join(os.WriteFile(bad, []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	const tiny = " --duration 20ms --warmup 0s --quiet"
	fill := strings.NewReplacer("$TINY", tiny, "$DIR", dir, "$BUSY", busy, "$BAD", bad)
	for _, script := range []string{
		"tcpbench run $DIR/none.yaml", "tcpbench run $DIR/", "tcpbench run - <$DIR", "tcpbench run $DIR/file/x.yaml", "tcpbench check $DIR $DIR/none",
		"tcpbench diff $DIR/none $BAD", "tcpbench diff $BAD $BAD", "tcpbench profiles $DIR/none",
		"tcpbench lab short --profile $DIR/none.conf$TINY", "tcpbench lab short --profile $DIR/$TINY", "tcpbench lab short --pcap /dev/full$TINY", "tcpbench lab short --pcap /proc/x$TINY",
		"tcpbench lab shell client -- $DIR/none", "SHELL=$DIR/none tcpbench lab shell client",
		"tcpbench compare short --vary net.ipv4.tcp_timestamps=0,1 --rounds 1 --save /proc/x$TINY",
		"tcpbench serve --listen 203.0.113.1:80", "tcpbench serve --listen 127.0.0.1:$BUSY", "ulimit -n 12; tcpbench serve",
		"tcpbench run short --ports $BUSY$TINY", "tcpbench run short --congestion none$TINY", "tcpbench run short --target 127.0.0.1:9 --payload-file $DIR/none --until close$TINY",
		"tcpbench run short --target 203.0.113.1:9 --payload x --sources 203.0.113.2 --timeout 50ms$TINY",
		"tcpbench run short --out /dev/full$TINY", "tcpbench run short --out $DIR/file/x$TINY", "tcpbench run short >/dev/full$TINY", "tcpbench list >/dev/full", "tcpbench show short >/dev/full",
		"ulimit -n 8; tcpbench run short$TINY", "ulimit -n 12; tcpbench run short$TINY", "ulimit -n 20; tcpbench run short$TINY", "ulimit -n 10; tcpbench lab short$TINY",
		"tcpbench watch --count 1 --every 10ms >/dev/full",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var stderr bytes.Buffer
			cmd := exec.CommandContext(ctx, "sh", "-c", fill.Replace(script))
			cmd.Stderr = &stderr
			var ended *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &ended) {
				t.Fatalf("it does not fail: %v", err)
			}
			if lacks := complaint(stderr.String()); lacks != "" || !strings.Contains(stderr.String(), "tcpbench: ") {
				t.Errorf("exit %d, the message does not say %s\n%s", ended.ExitCode(), lacks, stderr.String())
			}
		})
	}
}
