package sockets

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// One process, which dies at once if it is killed, and writes only below its prefix.
const nginxConf = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen %s backlog=1024;
		location / { return 200 "hello\n"; }
		location /status { stub_status; }
	}
}
`

// nginx is Debian's, with the configuration above.
type nginx struct {
	addr         netip.AddrPort
	path, prefix string
	client       http.Client
	process      *os.Process // nil while there is none
	dead         chan struct{}
}

func newNginx(t *testing.T) *nginx {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		alone.Needed(t, "nginx: apt-get install nginx-light")
	}
	// A port that was free a moment ago, and from which no client can start.
	free := serveBelow(t, "127.0.0.1", closes)
	free.kill()
	n := &nginx{addr: free.addr, path: path, prefix: t.TempDir()}
	n.client.Transport = &http.Transport{DisableKeepAlives: true}
	conf := fmt.Sprintf(nginxConf, n.addr)
	if err := os.WriteFile(filepath.Join(n.prefix, "nginx.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
	return n
}

// start returns when somebody listens.
func (n *nginx) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(n.path, "-p", n.prefix, "-c", "nginx.conf", "-e", "stderr")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started := make(chan error)
	n.dead = make(chan struct{})
	go func() {
		// The parent-death signal comes when the thread that starts the process ends: it must
		// not become the thread of a loop.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(n.dead)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Error(err)
		return
	}
	n.process = cmd.Process
	await(t, "nginx to listen", func() error {
		c, err := net.Dial("tcp", n.addr.String())
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

func (n *nginx) kill() {
	if n.process != nil {
		_ = n.process.Kill()
		<-n.dead
		n.process = nil
	}
}

var handledConnections = regexp.MustCompile(`(?m)^ \d+ (\d+) \d+ $`)

// handled is the number of connections that it has accepted since it was started. Each call makes
// one.
func (n *nginx) handled() (uint64, error) {
	response, err := n.client.Get(fmt.Sprintf("http://%s/status", n.addr))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	m := handledConnections.FindSubmatch(body)
	if m == nil {
		return 0, fmt.Errorf("no status: %q", body)
	}
	return strconv.ParseUint(string(m[1]), 10, 64)
}

// serves waits until nginx has served a number of connections, without those of handled.
func (n *nginx) serves(t *testing.T, want uint64) {
	t.Helper()
	questions := uint64(1) // start connects once
	await(t, "nginx to serve", func() error {
		questions++
		got, err := n.handled()
		if err == nil && got < want+questions {
			err = fmt.Errorf("%d of %d", got-questions, want)
		}
		return err
	})
}

// httpLives are the two ways to read a response of HTTP to its end.
var httpLives = []struct {
	name string
	loadgen.Lifecycle
}{
	{"1.0, server closes", loadgen.Lifecycle{
		Request: []byte("GET / HTTP/1.0\r\n\r\n"), Response: atClose, CloseBy: wire.Server,
	}},
	{"1.1, client closes", loadgen.Lifecycle{
		Request: []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), Response: matching(`^HTTP/1\.1 200 OK\r\n(.+\r\n)+\r\nhello\n$`),
	}},
}

func TestNginx(t *testing.T) {
	watchLeaks(t)
	n := newNginx(t)
	n.start(t)
	for _, c := range httpLives {
		t.Run(c.name, func(t *testing.T) {
			got := load(context.Background(), t, loadgen.Config{
				Targets: to(n.addr), Sources: sources(t, "127.0.0.2-127.0.0.9"), Count: 1000, Connections: 16, Lifecycle: c.Lifecycle,
			})
			if got.ends() != allSucceeded(1000) {
				t.Error(got.ends())
			}
			if h := got.Histograms[metrics.ExchangeTime]; h.Count != 1000 || h.Min <= 0 {
				t.Errorf("%d exchanges, the fastest in %d ns", h.Count, h.Min)
			}
		})
	}
	// An answer that does not match is no success.
	got := load(context.Background(), t, loadgen.Config{Targets: to(n.addr), Sources: sources(t, "127.0.0.2"), Count: 20, Lifecycle: loadgen.Lifecycle{
		Request: []byte("GET /nowhere\r\n\r\n"), Response: matching("200 OK"),
	}})
	if got.ends() != allFailed(20, "exchange.closed_early") {
		t.Error(got.ends())
	}
}

// nginx is killed under load and started again. The run goes on, no attempt is lost, and some succeed
// before and after.
func TestNginxKilledAndRestarted(t *testing.T) {
	for _, c := range httpLives {
		t.Run(c.name, func(t *testing.T) {
			watchLeaks(t)
			n := newNginx(t)
			n.start(t)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			const served = 400
			refused := make(chan struct{})
			go func() {
				defer close(refused)
				defer cancel()
				n.serves(t, served)
				n.kill()
				before, _ := counters(t).Value("Tcp", "AttemptFails")
				until(t, "attempts that are refused", func() bool {
					now, _ := counters(t).Value("Tcp", "AttemptFails")
					return now > before+50
				})
				n.start(t)
				n.serves(t, served)
			}()
			got := load(ctx, t, loadgen.Config{
				Targets: to(n.addr), Sources: sources(t, "127.0.0.2-127.0.0.9"), Process: pace.Constant, Profile: pace.Steady(2000 * pace.PerSecond),
				Connections: 64, Duration: time.Hour, Lifecycle: c.Lifecycle,
			})
			<-refused
			// Of the connections that nginx has accepted, one for each slot may have been cut
			// each time that it ended.
			if got.Stopped != "interrupted" || got.Succeeded < 2*served-2*64 {
				t.Error(got.ends())
			}
			if got.Failed["connect.refused"] == 0 {
				t.Errorf("nothing was refused: %s", got.ends())
			}
			t.Log(got.ends())
		})
	}
}
