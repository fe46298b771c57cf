package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A lab is gone when nothing holds it, and not before: a socket of it is enough to keep it.
func TestRemains(t *testing.T) {
	l := newLab(t, Link{})
	r, err := l.Remains()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	leaveTimeWait(t, l.Client, 200)
	var held net.Listener
	err = l.Client.Do(func() error {
		held, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context(), 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not taken") {
		t.Errorf("a lab that has a socket is gone: %v", err)
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

// leaveTimeWait leaves sockets in TIME_WAIT on the host's loopback, as the kernel counts them.
func leaveTimeWait(t *testing.T, h *Host, n int) {
	t.Helper()
	err := h.Do(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		for range n {
			// The dialer's socket is made on this thread, and so in this namespace.
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
				return fmt.Errorf("data after a close")
			}
			s.Close()
		}
		text, err := os.ReadFile("/proc/thread-self/net/sockstat")
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), fmt.Sprintf(" tw %d ", n)) {
			return fmt.Errorf("not %d sockets in TIME_WAIT: %s", n, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
