package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	{"--target :80", "--target", "host before"},
	{"--target 127.0.0.1:", "--target", "port from 1 to 65535"},
	{"--target 127.0.0.1:0", "--target", "port from 1 to 65535"},
	{"--target 127.0.0.1:65536", "--target", "port from 1 to 65535"},
	{"--target 127.0.0.1:http", "--target", "port from 1 to 65535"},
	{"--target ::1:80", "--target", "brackets"},
	{"--target 127.0.0.1:80,", "--target", "HOST:PORT"},
	{"--target no.such.name.invalid:80", "--target", "name that resolves"},

	{"--rate x", "--rate", "as in 500"},
	{"--rate ''", "--rate", "as in 500"},
	{"--rate 0", "--rate", "0.001 to"},
	{"--rate -1", "--rate", "0.001 to"},
	{"--rate NaN", "--rate", "as in 500"},
	{"--rate Inf", "--rate", "0.001 to"},
	{"--rate 1G", "--rate", "as in 500"},
	{"--rate 1k --arrival x", "--arrival", "constant, poisson"},
	{"--bpf=x", "--bpf", "true or false"},
	{"--bpf --observe=false", "--bpf", "and --observe=false: .*leave one"},
	{"--observe=x", "--observe", "true or false"},
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
	{"--payload-file /dev/zero" + anyServer, "--payload-file", "no regular file"},
	{"--payload-file ''" + anyServer, "--payload-file", "leave it out"},
	{"--payload x --until bytes:0" + anyServer, "--until", "from 1 to"},
	{"--payload x --until bytes:x" + anyServer, "--until", "from 1 to"},
	{"--payload x --until ''" + anyServer, "--until", "bytes:N, close or a regular expression"},
	{"--payload x --until a(b" + anyServer, "--until", "bytes:N nor close nor a regular expression"},
	{"--connect-only=x", "--connect-only", "true or false"},

	{"--rate 1k,2k", "--rate", "need a length"},
	{"--rate 1k,2k@x", "--rate", "as in 1k,5k"},
	{"--rate 1k,x@1s", "--rate", "as in 500"},
	{"--rate 1k..2k", "--rate", "need a length|needs a length"},
	{"--rate 1k..2k/0s", "--rate", "as in 1k..50k"},
	{"--rate 1k..x/1s", "--rate", "as in 500"},
	{"--replace=x", "--replace", "true or false"},
	{"--open-rate x", "--open-rate", "as in 500"},
	{"--exchange-rate 0", "--exchange-rate", "0.001 to"},
	{"--close-rate x", "--close-rate", "as in 500"},
	{"--pipeline=x", "--pipeline", "true or false"},
	{"--check-content=x", "--check-content", "true or false"},
	{"--heartbeat 1s --hold 1s --heartbeat-phase x", "--heartbeat-phase", "random, aligned"},
	{"--heartbeat 1s --hold 1s --heartbeat-design x", "--heartbeat-design", "ping, listen, server"},
	{"--nodelay=x", "--nodelay", "true or false"},
	{"--quickack=x", "--quickack", "true or false"},
	{"--fastopen=x", "--fastopen", "true or false"},
	{"--mptcp=x", "--mptcp", "true or false"},
	{"--reuseaddr=x", "--reuseaddr", "true or false"},
	{"--bind-port=x", "--bind-port", "true or false"},
	{"--explicit-ports=x", "--explicit-ports", "true or false"},
	{"--local-ports 5-4", "--local-ports", "LOW-HIGH"},
	{"--congestion ''", "--congestion", "leave it out"},

	{"--ports x", "--ports", "as in 9000-9063"},
	{"--ports ''", "--ports", "as in 9000-9063"},
	{"--ports 0", "--ports", "1 to 65535"},
	{"--ports 65536", "--ports", "1 to 65535"},
	{"--ports 9-8", "--ports", "1 to 65535"},
	{"--ports 9000,8999-9001", "--ports", "twice"},
	{"--ports 1-1025", "--ports", "at most 1024"},
	{"--ipv4=x", "--ipv4", "true or false"},
	{"--ipv6=x", "--ipv6", "true or false"},

	{"--expect 'rte > 1'", "--expect", "did you mean rate"},
	{"--out ''", "--out", "leave it out"},
	{"--out $DIR", "--out", "directory that can be written"},
	{"--out $DIR/nothing/result.json", "--out", "directory that can be written"},
	{"--format x", "--format", "want one of text, json"},
	{"--quiet=x", "--quiet", "true or false"},
	{"--explain=x", "--explain", "true or false"},
	{"--realistic=x", "--realistic", "true or false"},
	{"--json --format text", "--json", "give one of them"},
	{"--pcap ''", "--pcap", "leave it out"},
	{"--pcap $DIR/x.pcap", "--pcap", "only the packets of a lab"},
}

// Flags of run that contradict each other, where each is good alone.
var contradictions = []bad{
	{"--arrival poisson", "--arrival", "add --rate"},
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
	{"--exchanges 2 --connect-only", "--connect-only", "and --exchanges 2: nothing is sent: leave one"},
	{"--pipeline", "--pipeline", "2 or more"},
	{"--burst 99999999999", "--burst", "from 0 to 16777216"},
	{"--timeout 3sec", "--timeout", "did you mean 3s"},
	{"--exchanges 2 --request-size 0", "--exchanges", "--request-size 1 or more"},
	{"--pipeline --exchanges 65535 --request-size 16M", "--pipeline", "make --exchanges or --request-size smaller"},
	{"--sources 127.1.0.0/16 --ports 9000-9063", "--sources", "name fewer"},
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
	{"--echo=x", "--echo", "true or false"},
	{"--max-request 17M", "--max-request", "0 to 16M"},
	{"--linger -1", "--linger", "from 0 to"},
	{"--max-rate x", "--max-rate", "1 byte or more"},
	{"--max-bytes 0", "--max-bytes", "1 byte or more"},
	{"--max-response x", "--max-response", "0 to 16M"},
	{"--keepalive-interval 1s", "--keepalive-interval", "add keepalive"},
	{"--fastopen=x", "--fastopen", "true or false"},
	{"--mptcp=x", "--mptcp", "true or false"},
	{"--quiet=x", "--quiet", "true or false"},
}

var bothNamed = regexp.MustCompile(`tcpbench: --\S+.* and --\S+`)

func TestBadFlagsAreRefused(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, and all on one thread")
	}
	for verb, table := range map[string][]bad{"run short": slices.Concat(badRuns, contradictions), "serve": badServes} {
		for _, b := range table {
			stdout, stderr, code := inProcess(words(verb+" "+b.args, t.TempDir())...)
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

// inProcess runs the command without a process of its own.
func inProcess(args ...string) (stdout, stderr string, code int) {
	var out, errs strings.Builder
	code = run(args, &out, &errs)
	return out.String(), errs.String(), code
}

// aRange is the kind of a flag of a number, as package values writes it.
var aRange = regexp.MustCompile(`^(0s?,)?([0-9.hms]+)-([0-9.hms]+)$`)

// Every number of every command has a range, and what is no number or outside is refused with
// it.
func TestEveryNumberHasARange(t *testing.T) {
	t.Parallel()
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			kind := f.Value.Type()
			if slices.Contains([]string{"int", "uint", "int64", "uint64", "float64", "duration"}, kind) {
				t.Errorf("%s --%s: a number without a range: use Whole, Share, Time or Seed of package values", c.CommandPath(), f.Name)
			}
			m := aRange.FindStringSubmatch(kind)
			if m == nil {
				return
			}
			want := fmt.Sprintf("want a .* from %s to %s", regexp.QuoteMeta(m[2]), regexp.QuoteMeta(m[3]))
			for _, text := range []string{"", "x", "-1", "-1s", "NaN", "1e99", "99999999999999999999", "9999999999h", m[3] + "0", "-" + m[3], m[3] + "m"} {
				if err := f.Value.Set(text); err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
					t.Errorf("%s --%s=%q: %v, want %q", c.CommandPath(), f.Name, text, err, want)
				}
			}
		})
	}
	visit(newRoot())
}

// A flag without a range and without a bad value in the tables is one that nobody has thought
// about.
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
			if kind := c.Flags().Lookup(name).Value.Type(); !blamed && name != "help" && kind != "SEED" && !aRange.MatchString(kind) {
				t.Errorf("%s --%s: no line of the table blames it", verb, name)
			}
		}
	}
}
