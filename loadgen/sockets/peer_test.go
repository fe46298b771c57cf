package sockets

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
)

type tcp = net.TCPConn

// A peer plays the server's side of a connection, which is closed when it returns. The error says how
// it saw the client's side end.
type peer func(c *tcp) error

// host is a server of package net: one goroutine for each connection.
type host struct {
	addr     netip.AddrPort
	play     peer
	accepted atomic.Uint64
	resets   atomic.Uint64 // connections that a peer saw end by RST

	mu       sync.Mutex
	listener *net.TCPListener
	open     map[*tcp]struct{}
	group    sync.WaitGroup
}

// serve starts a host that lives as long as the test.
func serve(t testing.TB, address string, play peer) *host {
	t.Helper()
	h := &host{addr: netip.MustParseAddrPort(address), play: play}
	if err := h.start(); err != nil {
		if h.addr.Addr().Is6() && (errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)) {
			alone.Needed(t, "IPv6: "+err.Error())
		}
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	return h
}

// serveBelow is serve on a port below the range of local ports, so that it is still free when the
// host starts a second time.
func serveBelow(t testing.TB, ip string, play peer) *host {
	t.Helper()
	h := &host{play: play}
	for port := uint16(21000 + os.Getpid()%5000); ; port++ {
		h.addr = netip.AddrPortFrom(netip.MustParseAddr(ip), port)
		err := h.start()
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EADDRINUSE) || port > 31000 {
			t.Fatal(err)
		}
	}
	t.Cleanup(h.kill)
	return h
}

func (h *host) start() error {
	// Go listens with Multipath TCP by default, which has other timings.
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", h.addr.String())
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listener, h.open = l.(*net.TCPListener), map[*tcp]struct{}{}
	if h.addr.Port() == 0 {
		h.addr = l.Addr().(*net.TCPAddr).AddrPort()
	}
	h.group.Add(1)
	go h.accept(h.listener)
	return nil
}

func (h *host) accept(l *net.TCPListener) {
	defer h.group.Done()
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: they come back
			time.Sleep(time.Millisecond)
			continue
		}
		h.accepted.Add(1)
		h.mu.Lock()
		dead := h.listener != l
		if !dead {
			h.open[c] = struct{}{}
			h.group.Add(1)
		}
		h.mu.Unlock()
		if dead {
			_ = resets(c)
			continue
		}
		go func() {
			defer h.group.Done()
			if err := h.play(c); errors.Is(err, unix.ECONNRESET) {
				h.resets.Add(1)
			}
			h.mu.Lock()
			delete(h.open, c)
			h.mu.Unlock()
			_ = c.Close()
		}()
	}
}

// kill ends the host as a crash would, and waits for its goroutines. It can be started again.
func (h *host) kill() {
	h.mu.Lock()
	l := h.listener
	h.listener = nil
	for c := range h.open {
		_ = resets(c)
	}
	h.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	h.group.Wait()
}

// after waits for n bytes of a request and goes on.
func after(n int, then peer) peer {
	return func(c *tcp) error {
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			return err
		}
		return then(c)
	}
}

// says sends text in one piece and goes on. The other side may be gone.
func says(text string, then peer) peer {
	return func(c *tcp) error {
		_, _ = io.WriteString(c, text)
		return then(c)
	}
}

// inPieces sends text byte by byte.
func inPieces(text string, then peer) peer {
	return func(c *tcp) error {
		for _, b := range []byte(text) {
			_, _ = c.Write([]byte{b})
		}
		return then(c)
	}
}

// closes closes by FIN, or by RST if there is something unread (RFC 2525, section 2.17).
func closes(*tcp) error { return nil }

// resets closes by RST.
func resets(c *tcp) error {
	_ = c.SetLinger(0)
	return c.Close()
}

// reads reads until the other side has closed, and then closes.
func reads(c *tcp) error {
	_, err := io.Copy(io.Discard, c)
	return err
}

// closesHalf closes its own side first.
func closesHalf(c *tcp) error {
	_ = c.CloseWrite()
	return reads(c)
}

// forgets does nothing more until the host is killed.
func forgets(c *tcp) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(uintptr) bool { return false })
}

// echoes answers what it gets, until the other side closes.
func echoes(c *tcp) error {
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
	}
}

// mute is a listener with a backlog on which nobody accepts: the kernel completes
// backlog + 1 handshakes and drops the SYNs that follow.
func mute(t testing.TB, address string, backlog int) netip.AddrPort {
	t.Helper()
	at := newSockaddr(netip.MustParseAddrPort(address))
	fd, errno := socket(at.family, unix.IPPROTO_TCP)
	if errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { closeSocket(fd) })
	if errno := bind(fd, at); errno != 0 {
		t.Fatal(errno)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	return boundTo(t, fd)
}

func boundTo(t testing.TB, fd int) netip.AddrPort {
	t.Helper()
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	t.Fatalf("address %v", name)
	return netip.AddrPort{}
}

// closed returns a port that is bound, so that nobody else takes it, and refuses.
func closed(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	at := newSockaddr(netip.MustParseAddrPort(address))
	fd, errno := socket(at.family, unix.IPPROTO_TCP)
	if errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { closeSocket(fd) })
	if errno := bind(fd, at); errno != 0 {
		t.Fatal(errno)
	}
	return boundTo(t, fd)
}
