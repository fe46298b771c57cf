package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// foreign is a server that is no tcpbench server, with manners good or bad.
type foreign struct {
	listener net.Listener
	accepted atomic.Int64
	serve    func(*net.TCPConn)

	mu      sync.Mutex
	open    map[net.Conn]bool
	closing bool
	done    sync.WaitGroup
}

// manners are what a server does with a connection, by the name of the mode. It is
// closed by FIN when the function returns.
var manners = map[string]func(*net.TCPConn){
	// pong answers and leaves the close to the client.
	"pong": func(c *net.TCPConn) {
		ask(c)
		say(c, "+PONG\r\n")
		_, _ = io.Copy(io.Discard, c)
	},
	// pieces answers like pong, a byte in each segment.
	"pieces": func(c *net.TCPConn) {
		ask(c)
		for _, b := range []byte("+PONG\r\n") {
			say(c, string(b))
		}
		_, _ = io.Copy(io.Discard, c)
	},
	// bye answers and closes.
	"bye": func(c *net.TCPConn) {
		ask(c)
		say(c, "so long\n")
	},
	// half answers, closes its direction and waits for the client's FIN.
	"half": func(c *net.TCPConn) {
		ask(c)
		say(c, "half\n")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	},
	// abort answers and resets.
	"abort": func(c *net.TCPConn) {
		ask(c)
		say(c, "so long\n")
		_ = c.SetLinger(0)
	},
	// reset takes the request and resets.
	"reset": func(c *net.TCPConn) {
		ask(c)
		_ = c.SetLinger(0)
	},
	// early takes the request and closes without an answer.
	"early": ask,
	// silent never says anything.
	"silent": func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) },
	// lines sends each line back.
	"lines": func(c *net.TCPConn) {
		in := bufio.NewScanner(c)
		for in.Scan() {
			say(c, in.Text()+"\n")
		}
	},
	// banner speaks first, like ssh and smtp.
	"banner": func(c *net.TCPConn) {
		say(c, "220 ready\r\n")
		_, _ = io.Copy(io.Discard, c)
	},
}

// ask reads one request: what comes first.
func ask(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)) }

// say writes. An error is the client's business: it may be gone.
func say(c *net.TCPConn, text string) { _, _ = io.WriteString(c, text) }

func startForeign(mode, host string) (*foreign, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	f := &foreign{listener: l, serve: manners[mode], open: map[net.Conn]bool{}}
	switch {
	case mode == "http":
		f.done.Go(f.http)
	case f.serve == nil:
		return nil, errors.Join(fmt.Errorf("no foreign server behaves %q", mode), l.Close())
	default:
		f.done.Go(f.live)
	}
	return f, nil
}

func (f *foreign) http() {
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }),
		ConnState: func(c net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				f.accepted.Add(1)
				f.keep(c)
			case http.StateClosed, http.StateHijacked:
				f.forget(c)
			}
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	_ = s.Serve(f.listener) // until close
	_ = s.Close()
}

func (f *foreign) live() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.accepted.Add(1)
		if !f.keep(c) {
			continue
		}
		f.done.Go(func() {
			f.serve(c.(*net.TCPConn))
			f.forget(c)
			c.Close()
		})
	}
}

// keep notes a connection for the end, and closes it if that has come.
func (f *foreign) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		c.Close()
		return false
	}
	f.open[c] = true
	return true
}

func (f *foreign) forget(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
}

func (f *foreign) close() {
	f.listener.Close()
	f.mu.Lock()
	f.closing = true
	for c := range f.open {
		c.Close()
	}
	f.mu.Unlock()
	f.done.Wait()
}
