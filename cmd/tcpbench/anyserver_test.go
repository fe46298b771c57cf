package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/metrics"
)

// daemon is a server of Debian's that a test starts for itself: on a free port of
// loopback, in a directory of its own, and never as a service.
type daemon struct {
	name, pkg string
	// dirs are where its binary may be besides PATH.
	dirs string
	// args start it in the foreground in directory dir.
	args func(dir string, port int) []string
	conf string // written to dir/conf, with the port in place of PORT
	// prepare runs before it starts.
	prepare func(t *testing.T, path, dir string)
	// unprivileged servers refuse to run as root.
	unprivileged bool
	end          os.Signal
}

const nobody = 65534

var daemons = map[string]*daemon{
	"redis": {name: "redis-server", pkg: "redis-server", args: func(dir string, port int) []string {
		return []string{"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--dir", dir}
	}},
	"redis with a password": {name: "redis-server", pkg: "redis-server", args: func(dir string, port int) []string {
		return []string{"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--dir", dir, "--requirepass", "secret"}
	}},
	"memcached": {name: "memcached", pkg: "memcached", unprivileged: true, args: func(_ string, port int) []string {
		return []string{"-l", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "0"}
	}},
	"nginx": {name: "nginx", pkg: "nginx-light", dirs: "/usr/sbin", args: func(dir string, _ int) []string {
		return []string{"-p", dir, "-c", "conf", "-e", "stderr"}
	}, conf: `daemon off; master_process off; pid nginx.pid; error_log stderr warn; events {}
http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
server { listen 127.0.0.1:PORT; location / { return 200 "hello\n"; } } }`},
	"haproxy": {name: "haproxy", pkg: "haproxy", dirs: "/usr/sbin", args: func(dir string, _ int) []string {
		return []string{"-db", "-q", "-f", filepath.Join(dir, "conf")}
	}, conf: `defaults
  mode http
  timeout client 30s
frontend hello
  bind 127.0.0.1:PORT
  http-request return status 200 content-type text/plain string hello
`},
	"postgresql": {name: "postgres", pkg: "postgresql", dirs: "/usr/lib/postgresql/*/bin", unprivileged: true, end: syscall.SIGQUIT,
		args: func(dir string, port int) []string {
			return []string{"-D", filepath.Join(dir, "data"), "-p", fmt.Sprint(port), "-k", dir, "-h", "127.0.0.1", "-F"}
		},
		prepare: func(t *testing.T, path, dir string) {
			initdb := exec.Command(filepath.Join(filepath.Dir(path), "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "--no-locale", "--no-sync")
			initdb.Dir, initdb.SysProcAttr = dir, asNobody()
			if out, err := initdb.CombinedOutput(); err != nil {
				t.Fatalf("initdb: %v\n%s", err, out)
			}
		}},
}

// asNobody gives up root, where there is any.
func asNobody() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return attr
}

// binary is where the server is, or a reason to skip.
func (d *daemon) binary(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath(d.name); err == nil {
		return path
	}
	if found, _ := filepath.Glob(filepath.Join(d.dirs, d.name)); d.dirs != "" && len(found) > 0 {
		return found[len(found)-1]
	}
	alone.Needed(t, d.name+": apt-get install "+d.pkg)
	return ""
}

// start returns the server's address when somebody listens there. It lives as long as the
// test.
func (d *daemon) start(t *testing.T) string {
	t.Helper()
	path, port := d.binary(t), freePort(t.Fatalf)
	// Not t.TempDir, into which only this user can go.
	dir, err := os.MkdirTemp("", "tcpbench-"+d.name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if d.conf != "" {
		conf := strings.ReplaceAll(d.conf, "PORT", fmt.Sprint(port))
		if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if d.unprivileged && os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	// The parent-death signal is for the thread that starts a process.
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	if d.prepare != nil {
		d.prepare(t, path, dir)
	}
	cmd := exec.Command(path, d.args(dir, port)...)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if d.unprivileged {
		cmd.SysProcAttr = asNobody()
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end := d.end
		if end == nil {
			end = os.Kill
		}
		_ = cmd.Process.Signal(end)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", d.name, &log)
		}
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if err := eventually(d.name+" listens on "+addr, func() bool {
		c, err := net.Dial("tcp", addr)
		return err == nil && c.Close() == nil
	}); err != nil {
		t.Fatal(err)
	}
	return addr
}

// bench runs the real program, and returns the result if it printed one.
func bench(t *testing.T, args ...string) (r *metrics.Result, code int, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tcpbench", append(args, "--format", "json", "--quiet", "--observe=false")...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	_ = cmd.Run() // the state says more
	if out.Len() > 0 {
		var err error
		if r, err = metrics.Read(&out); err != nil {
			t.Fatal(err)
		}
	}
	return r, cmd.ProcessState.ExitCode(), complaints.String()
}

// The commands that somebody would try against a server, as docs/any-server.md has them:
// they work as written. Only their length is this test's.
func TestAnyServer(t *testing.T) {
	t.Parallel()
	const (
		count   = 200
		startup = `\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00`
	)
	for _, tt := range []struct {
		name, server string
		args         []string
		exchanges    int // of a connection
	}{
		{"PING", "redis", []string{"short", "--payload", `PING\r\n`, "--until", `\+PONG\r\n`}, 1},
		{"heartbeat", "redis", []string{"long", "--payload", `PING\r\n`, "--until", `\+PONG\r\n`, "--heartbeat", "100ms"}, 0},
		{"burst", "redis", []string{"syn-burst", "--payload", `PING\r\n`, "--until", `\+PONG\r\n`, "--burst", fmt.Sprint(count), "--every", "0s", "--duration", "1s"}, 1},
		{"SET and GET", "redis", []string{"short", "--payload", `SET key:{{n:6}} {{hex:16}}\r\n`, "--payload", `GET key:{{rand:6}}\r\n`,
			"--until", `^(\+OK|\$-1|\$16\r\n[0-9a-f]{16})\r\n$`, "--exchanges", "4"}, 4},
		{"AUTH", "redis with a password", []string{"short", "--hello", `AUTH secret\r\n`, "--hello-until", `\+OK\r\n`, "--payload", `PING\r\n`, "--until", `\+PONG\r\n`}, 1},
		{"set and get", "memcached", []string{"short", "--payload", `set key{{n:6}} 0 0 8\r\n{{hex:8}}\r\n`, "--payload", `get key{{rand:6}}\r\n`,
			"--until", `(STORED|END)\r\n$`, "--exchanges", "4"}, 4},
		{"heartbeat", "memcached", []string{"long", "--payload", `version\r\n`, "--until", `^VERSION .*\r\n`, "--heartbeat", "100ms"}, 0},
		{"close", "nginx", []string{"short", "--payload", `GET / HTTP/1.0\r\n\r\n`, "--until", "close"}, 1},
		{"keep-alive", "nginx", []string{"short", "--payload", `GET /{{hex:8}} HTTP/1.1\r\nHost: localhost\r\n\r\n`, "--until", `^HTTP/1.1 200 (?s:.*)\r\n\r\nhello\n$`, "--exchanges", "10"}, 10},
		{"keep-alive", "haproxy", []string{"short", "--payload", `GET /{{n:8}} HTTP/1.1\r\nHost: localhost\r\n\r\n`, "--until", `^HTTP/1.1 200 (?s:.*)\r\n\r\nhello$`, "--exchanges", "10"}, 10},
		{"heartbeat", "haproxy", []string{"long", "--payload", `GET / HTTP/1.1\r\nHost: localhost\r\n\r\n`, "--until", `\r\n\r\nhello`, "--heartbeat", "100ms"}, 0},
		{"SSLRequest", "postgresql", []string{"short", "--payload", `\x00\x00\x00\x08\x04\xd2\x16\x2f`, "--until", "[SN]"}, 1},
		{"query", "postgresql", []string{"short", "--connections", "8", "--hello", startup, "--hello-until", `Z\x00\x00\x00\x05I$`,
			"--payload", `Q\x00\x00\x00\x14select {{n:8}}\x00`, "--until", `Z\x00\x00\x00\x05I$`, "--exchanges", "5"}, 5},
	} {
		t.Run(tt.server+"/"+tt.name, func(t *testing.T) {
			args := append([]string{"run"}, tt.args...)
			args = append(args, "--target", daemons[tt.server].start(t))
			if tt.exchanges == 0 {
				args = append(args, "--connections", "50", "--hold", "1s", "--missed", "50")
			} else if tt.args[0] == "short" {
				args = append(args, "--count", fmt.Sprint(count))
			}
			r, code, stderr := bench(t, args...)
			if code != 0 || r == nil {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if r.TotalFailed() != 0 || r.Said != nil || len(r.Scenario.Sources) != 0 {
				t.Errorf("%v failed, the server said %+v, from %v", r.Failed, r.Said, r.Scenario.Sources)
			}
			if tt.exchanges == 0 {
				if b := r.Beats; b.Answered < 50 || r.Histograms[metrics.Heartbeat].Count != int64(b.Answered) || r.Population.Held != 50 {
					t.Errorf("%+v, %+v", b, r.Population)
				}
				return
			}
			if n := r.Histograms[metrics.ExchangeTime].Count; r.Succeeded != count || n != int64(count*tt.exchanges) {
				t.Errorf("%d succeeded with %d exchanges, want %d of %d each", r.Succeeded, n, count, tt.exchanges)
			}
			if hellos := strings.Contains(strings.Join(tt.args, " "), "--hello "); (r.Histograms[metrics.HelloTime].Count == count) != hellos {
				t.Errorf("%d hellos", r.Histograms[metrics.HelloTime].Count)
			}
		})
	}
}

// Redis in protected mode refuses who does not come from 127.0.0.1, and says so: before
// the load, and without the preflight in the result.
func TestRedisRefusesOtherSources(t *testing.T) {
	t.Parallel()
	args := []string{"run", "short", "--target", daemons["redis"].start(t), "--payload", `PING\r\n`, "--until", `\+PONG\r\n`,
		"--sources", "127.0.1.1-127.0.1.9", "--count", "100"}
	_, code, stderr := bench(t, args...)
	for _, want := range []string{`said "-DENIED Redis is running in protected mode`, `--until '\+PONG\r\n'`, "--sources", "--no-preflight"} {
		if code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d, %q, want %q", code, stderr, want)
		}
	}
	r, code, stderr := bench(t, append(args, "--no-preflight")...)
	if code != exitNothing || r == nil || r.TotalFailed() != 100 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if r.Said == nil || !strings.HasPrefix(r.Said.Texts[0].Text, "-DENIED Redis is running in protected mode") {
		t.Errorf("the server said %+v", r.Said)
	}
}

// A wrong password, and a payload that a server takes for nonsense.
func TestServersComplaintsAreTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, server, want string
		args               []string
	}{
		{"wrong password", "redis with a password", `said "-WRONGPASS `, []string{"--hello", `AUTH wrong\r\n`, "--hello-until", `\+OK\r\n`, "--payload", `PING\r\n`, "--until", `\+PONG\r\n`}},
		{"no password", "redis with a password", `said "-NOAUTH `, []string{"--payload", `PING\r\n`, "--until", `\+PONG\r\n`}},
		{"unknown command", "memcached", `said "ERROR\r\n"`, []string{"--payload", `PING\r\n`, "--until", `PONG`}},
		{"no host", "nginx", `said "HTTP/1.1 400 Bad Request`, []string{"--payload", `GET / HTTP/1.1\r\n\r\n`, "--until", ` 200 OK`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"run", "short", "--target", daemons[tt.server].start(t), "--timeout", "500ms", "--count", "10"}, tt.args...)
			if r, code, stderr := bench(t, args...); r != nil || code != exitFailed || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, %q, want %q", code, stderr, tt.want)
			}
		})
	}
}
