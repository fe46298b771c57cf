package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tcpbench/metrics"
	"tcpbench/scenarios"
)

// bad is a command line that cannot be meant.
type bad struct {
	args   string // $DIR is an empty directory, an empty word stands as ''
	flag   string // the flag to blame
	remedy string // a regular expression
}

const anyServer = " --target 127.0.0.1:9 "

// Every bad value of every flag of run.
var badRuns = []bad{
	{"--target x", "--target", "HOST:PORT"},
	{"--target ''", "--target", "leave it out"},
	{"--target :80", "--target", "host in front"},
	{"--target 127.0.0.1:", "--target", "port from 1 to 65535"},
	{"--target 127.0.0.1:0", "--target", "port from 1 to 65535"},
	{"--target 127.0.0.1:65536", "--target", "port from 1 to 65535"},
	{"--target 127.0.0.1:http", "--target", "port from 1 to 65535"},
	{"--target ::1:80", "--target", "brackets"},
	{"--target 127.0.0.1:80,", "--target", "HOST:PORT"},
	{"--target no.such.name.invalid:80", "--target", "name that resolves"},

	{"--duration x", "--duration", "as in .*10s"},
	{"--duration 10", "--duration", "as in .*10s"},
	{"--duration 0s", "--duration", "more than 0"},
	{"--duration -1s", "--duration", "more than 0"},
	{"--count x", "--count", "whole number"},
	{"--count -1", "--count", "whole number"},
	{"--count 1.5", "--count", "whole number"},
	{"--count 0", "--count", "1 or more"},
	{"--warmup x", "--warmup", "as in .*10s"},
	{"--warmup -1s", "--warmup", "0s or more"},
	{"--warmup 1s --hold 3s", "--warmup", "--hold.* has none: .*--open-rate"},
	{"--timeout x", "--timeout", "as in .*10s"},
	{"--timeout 0s", "--timeout", "more than 0"},

	{"--connections x", "--connections", "whole number"},
	{"--connections 0", "--connections", "1 or more"},
	{"--connections -1", "--connections", "1 or more"},
	{"--connections 99999999999", "--connections", "at most"},
	{"--rate x", "--rate", "as in 500"},
	{"--rate ''", "--rate", "as in 500"},
	{"--rate 0", "--rate", "0.001 to"},
	{"--rate -1", "--rate", "0.001 to"},
	{"--rate NaN", "--rate", "as in 500"},
	{"--rate Inf", "--rate", "0.001 to"},
	{"--rate 1G", "--rate", "as in 500"},
	{"--rate 1k --arrival x", "--arrival", "constant, poisson"},
	{"--rate 1k --seed x", "--seed", "whole number"},
	{"--bpf=x", "--bpf", "true or false"},
	{"--bpf --observe=false", "--bpf", "and --observe=false: .*leave one"},
	{"--observe=x", "--observe", "true or false"},
	{"--threads x", "--threads", "whole number"},
	{"--threads 0", "--threads", "1 to 1024"},
	{"--threads 1025", "--threads", "1 to 1024"},
	{"--sources x", "--sources", "address, range a-b or CIDR"},
	{"--sources ''", "--sources", "address, range a-b or CIDR"},
	{"--sources 127.0.0.1,", "--sources", "address, range a-b or CIDR"},
	{"--sources 127.0.0.9-127.0.0.1", "--sources", "a ≤ b"},
	{"--sources 127.0.0.1-::1", "--sources", "one family"},
	{"--sources 127.0.0.0/33", "--sources", "as in 10.0.0.0/24"},
	{"--sources 127.0.0.0/8", "--sources", "longer prefix"},
	{"--sources 127.0.0.0/16,127.1.0.1", "--sources", "name fewer"},
	{"--sources ::1", "--sources", "leave --sources out"},
	{"--sources 127.0.0.1 --ipv6", "--sources", "--ipv6 and --sources 127.0.0.1: .*leave one"},
	{"--sources 127.0.0.1 --target 127.0.0.1:9,[::1]:9", "--sources", "family of target ::1"},
	{"--on-exhausted x", "--on-exhausted", "count, wait, stop"},

	{"--close x", "--close", "client, server"},
	{"--close-how x", "--close-how", "fin, rst"},
	{"--close-wait=x", "--close-wait", "true or false"},
	{"--request-size x", "--request-size", "0 to 16M"},
	{"--request-size -1", "--request-size", "0 to 16M"},
	{"--request-size 17M", "--request-size", "0 to 16M"},
	{"--response-size 4G", "--response-size", "0 to 16M"},
	{`--payload \q` + anyServer, "--payload", `\\n`},
	{`--payload \x1` + anyServer, "--payload", `\\xNN`},
	{`--payload a\` + anyServer, "--payload", `\\xNN`},
	{"--payload-file $DIR/nothing" + anyServer, "--payload-file", "can be read"},
	{"--payload-file $DIR" + anyServer, "--payload-file", "regular file"},
	{"--payload-file ''" + anyServer, "--payload-file", "leave it out"},
	{"--payload x --until bytes:0" + anyServer, "--until", "1 or more"},
	{"--payload x --until bytes:x" + anyServer, "--until", "1 or more"},
	{"--payload x --until ''" + anyServer, "--until", "bytes:N, close or a regular expression"},
	{"--payload x --until a(b" + anyServer, "--until", "bytes:N nor close nor a regular expression"},
	{"--connect-only=x", "--connect-only", "true or false"},

	{"--rate 1k,2k", "--rate", "need a length"},
	{"--rate 1k,2k@x", "--rate", "as in 10s"},
	{"--rate 1k,x@1s", "--rate", "as in 500"},
	{"--rate 1k..2k", "--rate", "need a length|needs a length"},
	{"--rate 1k..2k/0s", "--rate", "as in 30s"},
	{"--rate 1k..x/1s", "--rate", "as in 500"},
	{"--burst x", "--burst", "whole number"},
	{"--burst -1", "--burst", "1 or more"},
	{"--burst 1 --every x", "--every", "as in .*10s"},
	{"--burst 1 --every -1s", "--every", "0s for one"},
	{"--hold x", "--hold", "as in .*10s"},
	{"--hold 0s", "--hold", "more than 0"},
	{"--replace=x", "--replace", "true or false"},
	{"--open-rate x", "--open-rate", "as in 500"},
	{"--exchange-rate 0", "--exchange-rate", "0.001 to"},
	{"--close-rate x", "--close-rate", "as in 500"},
	{"--exchanges 0", "--exchanges", "1 to 65535"},
	{"--exchanges 65536", "--exchanges", "1 to 65535"},
	{"--gap -1s", "--gap", "0s or more"},
	{"--jitter 2", "--jitter", "0 to 1"},
	{"--jitter x", "--jitter", "a number"},
	{"--pipeline=x", "--pipeline", "true or false"},
	{"--stay -1s", "--stay", "0s or more"},
	{"--heartbeat 1ms --hold 1s", "--heartbeat", "steps of 10ms"},
	{"--missed 0 --heartbeat 1s --hold 1s", "--missed", "1 to 100"},
	{"--heartbeat 1s --hold 1s --heartbeat-design x", "--heartbeat-design", "ping, listen, server"},
	{"--nodelay=x", "--nodelay", "true or false"},
	{"--quickack=x", "--quickack", "true or false"},
	{"--fastopen=x", "--fastopen", "true or false"},
	{"--mptcp=x", "--mptcp", "true or false"},
	{"--reuseaddr=x", "--reuseaddr", "true or false"},
	{"--bind-port=x", "--bind-port", "true or false"},
	{"--explicit-ports=x", "--explicit-ports", "true or false"},
	{"--local-ports 5-4", "--local-ports", "LOW-HIGH"},
	{"--syncnt 128", "--syncnt", "1 to 127"},
	{"--tos 256", "--tos", "0 to 255"},
	{"--congestion ''", "--congestion", "leave it out"},
	{"--keepalive 1500ms", "--keepalive", "whole seconds"},
	{"--keepalive 1s --keepalive-interval 1ms", "--keepalive-interval", "whole seconds"},
	{"--keepalive 1s --keepalive-probes 128", "--keepalive-probes", "1 to 127"},
	{"--user-timeout -1s", "--user-timeout", "1ms or more"},
	{"--fin-timeout 1ms", "--fin-timeout", "whole seconds"},
	{"--fin-timeout 3m", "--fin-timeout", "2m at the most"},

	{"--defer-accept 1ms", "--defer-accept", "whole seconds"},
	{"--server-keepalive 1ms", "--server-keepalive", "whole seconds"},
	{"--server-user-timeout -1s", "--server-user-timeout", "1ms or more"},
	{"--ports x", "--ports", "as in 9000-9063"},
	{"--ports ''", "--ports", "as in 9000-9063"},
	{"--ports 0", "--ports", "1 to 65535"},
	{"--ports 65536", "--ports", "1 to 65535"},
	{"--ports 9-8", "--ports", "1 to 65535"},
	{"--ports 9000,8999-9001", "--ports", "twice"},
	{"--ports 1-1025", "--ports", "at most 1024"},
	{"--ipv4=x", "--ipv4", "true or false"},
	{"--ipv6=x", "--ipv6", "true or false"},
	{"--server-loops x", "--server-loops", "whole number"},
	{"--server-loops 0", "--server-loops", "1 to 256"},
	{"--server-loops 257", "--server-loops", "1 to 256"},
	{"--backlog x", "--backlog", "whole number"},
	{"--backlog -1", "--backlog", "somaxconn"},

	{"--expect 'rte > 1'", "--expect", "did you mean rate"},
	{"--out ''", "--out", "leave it out"},
	{"--out $DIR", "--out", "directory that can be written"},
	{"--out $DIR/nothing/result.json", "--out", "directory that can be written"},
	{"--format x", "--format", "text or json"},
	{"--quiet=x", "--quiet", "true or false"},
	{"--explain=x", "--explain", "true or false"},
	{"--realistic", "--realistic", "nothing is scaled down"},
	{"--json --format text", "--json", "give one of them"},
	{"--pcap ''", "--pcap", "leave it out"},
	{"--pcap $DIR/x.pcap", "--pcap", "only the packets of a lab"},
}

// Flags of run that contradict each other, where each is good alone.
var contradictions = []bad{
	{"--arrival poisson", "--arrival", "add --rate"},
	{"--seed 1", "--seed", "add --rate"},
	{"--payload {{x}}" + anyServer, "--payload", `\{\{n:8\}\}`},
	{"--payload {{n:99}}" + anyServer, "--payload", "1 to 18"},
	{"--payload x --payload ''" + anyServer, "--payload", "single exchange"},
	{"--payload-lines" + anyServer, "--payload-lines", "add --payload-file"},
	{`--hello \q --hello-until ok --payload x` + anyServer, "--hello", `\\n`},
	{"--hello x --payload x" + anyServer, "--hello", "--hello-until bytes:N"},
	{"--hello x" + anyServer, "--hello", "add --payload"},
	{"--hello-until close --payload x" + anyServer, "--hello-until", "bytes:N"},
	{"--no-preflight" + anyServer, "--no-preflight", "leave it out"},
	{"--payload x --payload-file $DIR" + anyServer, "--payload-file", "one of them"},
	{"--payload x", "--payload", "add --target"},
	{"--payload-file $DIR", "--payload", "add --target"},
	{"--until close", "--until", "add --payload"},
	{"--until bytes:1" + anyServer, "--until", "add --payload"},
	{"--payload x --request-size 1" + anyServer, "--request-size", "leave one of them out"},
	{"--payload x --response-size 1" + anyServer, "--response-size", "leave one of them out"},
	{"--payload x --until close --close client" + anyServer, "--until close", "leave one of them out"},
	{"--payload x --close client" + anyServer, "--until close", "leave one of them out"},
	{"--payload x --close-wait" + anyServer, "--close-wait", "leave one of them out"},
	{"--connect-only --payload x" + anyServer, "--connect-only", "leave one of them out"},
	{"--connect-only --payload-file $DIR" + anyServer, "--connect-only", "leave one of them out"},
	{"--connect-only --request-size 1", "--connect-only", "leave one of them out"},
	{"--connect-only --response-size 1", "--connect-only", "leave one of them out"},
	{"--connect-only --close server", "--connect-only", "leave one of them out"},
	{"--ports 9000" + anyServer, "--ports", "leave one of them out"},
	{"--server-loops 1" + anyServer, "--server-loops", "leave one of them out"},
	{"--backlog 1" + anyServer, "--backlog", "leave one of them out"},
	{"--ipv6" + anyServer, "--ipv6", "leave one of them out"},
	{"--close-wait --close server", "--close-wait", "let the client close"},
	{"--close-wait --close-how rst", "--close-wait", "let the client close, by FIN"},
	{"--rate 1k --burst 5", "--rate", "one of them"},
	{"--hold 1s --rate 1k", "--hold", "--open-rate"},
	{"-4 -6", "--ipv4", "and --ipv6: .*leave one"},
	{"-4 --target [::1]:9", "--ipv4", "--target .*address of IPv6"},
	{"-6 --target [::1]:9,127.0.0.1:9", "--ipv6", "--target .*address of IPv4"},
	{"-6 --target 127.0.0.1:9 --connect-only --threads 2", "--ipv6", "leave one"},
	{"--hold 1s --duration 1s", "--hold", "leave one of them out"},
	{"--every 1s", "--every", "add --burst"},
	{"--replace", "--replace", "add --hold"},
	{"--burst 5 --count 6", "--count", "add --every"},
	{"--open-rate 1k --rate 1k", "--open-rate", "leave one of them out"},
	{"--exchanges 2 --request-size 0", "--exchanges", "--request-size 1 or more"},
	{"--exchanges 2 --connect-only", "--connect-only", "and --exchanges: nothing is sent: leave one"},
	{"--pipeline", "--pipeline", "2 or more"},
	{"--heartbeat 1s", "--heartbeat", "add --hold"},
	{"--heartbeat 1s --hold 1s --exchanges 2", "--heartbeat", "leave one of them out"},
	{"--heartbeat 1s --hold 1s --close server", "--close", "let the client close"},
	{"--missed 2", "--missed", "add --heartbeat"},
	{"--heartbeat-design listen", "--heartbeat-design", "add --heartbeat"},
	{"--heartbeat 1s --hold 1s --heartbeat-design server --close never", "--heartbeat-design", "leave one of them out"},
	{"--heartbeat 1s --hold 1s --heartbeat-design listen --response-size 1", "--heartbeat-design", "leave one of them out"},
	{"--heartbeat 1s --hold 1s --exchange-rate 5", "--heartbeat", "leave one of them out"},
	{"--close never --close-how rst", "--close", "leave one of them out"},
	{"--close never --close-wait", "--close-wait", "let the client close"},
	{"--close never --connect-only", "--connect-only", "leave one of them out"},
	{"--close never --payload x" + anyServer, "--close", "leave one of them out"},
	{"--defer-accept 1s" + anyServer, "--defer-accept", "leave one of them out"},
	{"--server-keepalive 1s" + anyServer, "--server-keepalive", "leave one of them out"},
	{"--server-user-timeout 1s" + anyServer, "--server-user-timeout", "leave one of them out"},
	{"--stay 1s --close server", "--close", "let the client close"},
	{"--close-rate 1k --close both", "--close", "let the client close"},
	{"--close server --close-how half", "--close-how", "let the client close"},
	{"--close both --payload x" + anyServer, "--close", "leave one of them out"},
	{"--keepalive-probes 2", "--keepalive-probes", "add --keepalive"},
	{"--explicit-ports", "--explicit-ports", "add --local-ports"},
	{"--bind-port --explicit-ports --local-ports 1-2", "--bind-port", "one of them"},
}

var badServes = []bad{
	{"--listen x", "--listen", "HOST:PORT"},
	{"--listen ::1:80", "--listen", "IPv6"},
	{"--listen 127.0.0.1:x", "--listen", "0 to 65535"},
	{"--listen 127.0.0.1:65536", "--listen", "0 to 65535"},
	{"--listen no.such.name.invalid:80", "--listen", "name that resolves"},
	{"--ports x", "--ports", "as in 9000-9063"},
	{"--loops x", "--loops", "whole number"},
	{"--loops 0", "--loops", "1 to 256"},
	{"--loops 257", "--loops", "1 to 256"},
	{"--backlog x", "--backlog", "whole number"},
	{"--backlog -1", "--backlog", "somaxconn"},
	{"--linger x", "--linger", "whole number"},
	{"--linger -1", "--linger", "0 or more"},
	{"--echo=x", "--echo", "true or false"},
	{"--header-timeout x", "--header-timeout", "as in .*10s"},
	{"--header-timeout 0s", "--header-timeout", "more than 0"},
	{"--max-request 17M", "--max-request", "0 to 16M"},
	{"--max-connections 0", "--max-connections", "1 or more"},
	{"--max-rate x", "--max-rate", "1 byte or more"},
	{"--max-bytes 0", "--max-bytes", "1 byte or more"},
	{"--max-life 0s", "--max-life", "more than 0"},
	{"--max-response x", "--max-response", "0 to 16M"},
	{"--keepalive 1500ms", "--keepalive", "whole seconds"},
	{"--keepalive 1s --keepalive-interval 1ms", "--keepalive-interval", "whole seconds"},
	{"--keepalive-interval 1s", "--keepalive-interval", "give keepalive, too"},
	{"--keepalive 1s --keepalive-probes 128", "--keepalive-probes", "1 to 127"},
	{"--user-timeout -1s", "--user-timeout", "1ms or more"},
	{"--defer-accept 1ms", "--defer-accept", "whole seconds"},
	{"--fastopen=x", "--fastopen", "true or false"},
	{"--quiet=x", "--quiet", "true or false"},
}

var bothNamed = regexp.MustCompile(`tcpbench: --\S+.* and --\S+`)

func TestBadFlagsAreRefused(t *testing.T) {
	t.Parallel()
	for verb, table := range map[string][]bad{"run short": slices.Concat(badRuns, contradictions), "serve": badServes} {
		for _, b := range table {
			stdout, stderr, code := tcpbench(t, words(verb+" "+b.args, t.TempDir())...)
			switch {
			case code != exitUsage:
				t.Errorf("%s %s: exit code %d, want %d; stderr: %s", verb, b.args, code, exitUsage, stderr)
			case stdout != "":
				t.Errorf("%s %s: a usage error writes to stdout: %s", verb, b.args, stdout)
			case !strings.Contains(stderr, b.flag):
				t.Errorf("%s %s: the error does not name %s: %s", verb, b.args, b.flag, stderr)
			case !regexp.MustCompile(b.remedy).MatchString(stderr):
				t.Errorf("%s %s: the error does not say %q: %s", verb, b.args, b.remedy, stderr)
			case !strings.HasPrefix(stderr, "tcpbench: ") || !strings.Contains(stderr, "--help"):
				t.Errorf("%s %s: the error does not say who speaks and where to read on: %s", verb, b.args, stderr)
			case strings.Contains(b.remedy, "leave one of them out") && !bothNamed.MatchString(stderr):
				t.Errorf("%s %s: the error does not name both flags: %s", verb, b.args, stderr)
			case strings.Contains(stderr, "strconv") || strings.Contains(stderr, "goroutine"):
				t.Errorf("%s %s: the error is not for people: %s", verb, b.args, stderr)
			}
		}
	}
}

// A flag without a bad value in the tables is one that nobody has thought about.
func TestEveryFlagHasABadValue(t *testing.T) {
	for verb, table := range map[string][]bad{"run short": slices.Concat(badRuns, contradictions), "serve": badServes} {
		c, _, err := newRoot().Find(strings.Fields(verb))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range flagNames(c) {
			blamed := false
			for _, b := range table {
				blamed = blamed || b.flag == "--"+name
			}
			if !blamed && name != "help" {
				t.Errorf("%s --%s: no line of the table blames it", verb, name)
			}
		}
	}
}

// Words that a flag takes are offered by completion.
func TestCompletionOffersTheWordsOfAFlag(t *testing.T) {
	c, _, err := newRoot().Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range flagNames(c) {
		kind := c.Flags().Lookup(name).Value.Type()
		if !strings.Contains(kind, "|") {
			continue
		}
		complete, ok := c.GetFlagCompletionFunc(name)
		if !ok {
			t.Errorf("--%s: no completion for %s", name, kind)
			continue
		}
		offered, _ := complete(c, nil, "")
		for word := range strings.SplitSeq(kind, "|") {
			if word, _, _ = strings.Cut(word, ":"); word == strings.ToUpper(word) {
				continue // REGEXP
			}
			if !strings.Contains(strings.Join(offered, " "), word) {
				t.Errorf("--%s: %q does not offer %q", name, offered, word)
			}
		}
	}
}

// Every example of the help is a command line that is understood.
func TestExamplesAreUnderstood(t *testing.T) {
	root := newRoot()
	for _, c := range append(root.Commands(), root) {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(strings.ReplaceAll(c.Example, "\\\n", "")) {
			understood(t, line)
		}
	}
}

func understood(t *testing.T, example string) {
	t.Helper()
	example, _, _ = strings.Cut(example, " | ")
	// Behind a wide gap stands what the example is for.
	args := words(regexp.MustCompile(`\b  +[a-z].*`).ReplaceAllString(example, ""), "")
	if len(args) < 2 || args[0] != "tcpbench" {
		t.Errorf("%q is no command line", example)
		return
	}
	c, rest, err := newRoot().Find(args[1:])
	if err != nil {
		t.Errorf("%q: %v", example, err)
		return
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", example, err)
		return
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		t.Errorf("%q: %v", example, err)
	}
}

// words splits a command line at spaces, except in quotes.
func words(line, dir string) (args []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|\S+`).FindAllStringSubmatch(line, -1) {
		word := m[0]
		if strings.HasPrefix(word, "'") {
			word = m[1]
		}
		args = append(args, strings.ReplaceAll(word, "$DIR", dir))
	}
	return args
}

// tcpbench runs the real program.
func tcpbench(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "tcpbench", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestNearestFlag(t *testing.T) {
	c := newScenario(scenarios.Builtins()[0])
	for typed, want := range map[string]string{
		"raet": " (did you mean --rate?)", "conections": " (did you mean --connections?)",
		"closehow": " (did you mean --close-how?)", "port": " (did you mean --ports?)", "xyzzyx": "",
	} {
		if got := nearest(c, errors.New("unknown flag: --"+typed)); got != want {
			t.Errorf("nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}

// Saving replaces the file behind a link, keeps its mode, and leaves nothing else.
func TestOutputReplacesTheFileBehindALink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("earlier"), 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	out, err := openOutput(link)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "earlier" {
		t.Errorf("before the run the file holds %q, %v", content, err)
	}
	if err := out.commit(&metrics.Result{Schema: metrics.Schema}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(file)
	if err != nil || info.Mode() != 0o600 || info.Size() < 100 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "file" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
