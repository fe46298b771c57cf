package namespace_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/namespace"
)

// A namespace is gone when nothing holds it, and not before: a socket of it is enough to keep it.
func TestRemains(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	n, err := namespace.New("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := namespace.Watch(n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	leaveTimeWait(t, n, 200)
	var held net.Listener
	err = n.Do(func() error {
		held, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not taken") {
		t.Errorf("a namespace that has a socket is gone: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.Wait(ended, time.Minute); err == nil {
		t.Error("the end of the context ends no waiting")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
}

// leaveTimeWait leaves sockets in TIME_WAIT on the loopback of a namespace.
func leaveTimeWait(t *testing.T, in *namespace.Network, n int) {
	t.Helper()
	err := in.Do(func() error {
		// The sockets are made on this thread, and so in this namespace.
		alone.LoopbackUp(t)
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		for range n {
			c, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			s, err := l.Accept()
			if err != nil {
				return err
			}
			c.Close()
			if _, err := s.Read(make([]byte, 1)); err == nil {
				return errors.New("data after a close")
			}
			s.Close()
		}
		text, err := os.ReadFile("/proc/thread-self/net/sockstat")
		if err == nil && !strings.Contains(string(text), fmt.Sprintf(" tw %d ", n)) {
			err = fmt.Errorf("not %d sockets in TIME_WAIT: %s", n, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Go never gives away the first thread of the process, which would stay elsewhere for ever.
func TestGoSparesTheFirstThread(t *testing.T) {
	for range 200 {
		got := make(chan error)
		namespace.Go(func() {
			if unix.Gettid() == unix.Getpid() {
				got <- fmt.Errorf("thread %d is the first", unix.Gettid())
				return
			}
			got <- nil
		})
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
}
