package trace

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tcpbench/internal/alone"
	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/namespace"
	"tcpbench/metrics"
)

// bucketOf is the bucket of a time, as the programs compute it.
func bucketOf(ns uint64) uint32 {
	halved := uint64(0)
	for _, s := range shifts {
		if ns >= 1<<s.from {
			ns >>= s.by
			halved += uint64(s.by)
		}
	}
	return uint32(min(halved*halfBuckets+ns, buckets-1))
}

// A time is within 0.1 % of what its bucket stands for, and buckets are in order.
func TestBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Uint64Range(0, 500_000e9).Draw(t, "ns")
		i := bucketOf(ns)
		low, high := uint64(bucketValue(i)), uint64(bucketValue(i+1))
		if ns < low || ns >= high || float64(high-low) > max(1, float64(low)/halfBuckets) {
			t.Fatalf("%d ns is in bucket %d, from %d to %d", ns, i, low, high)
		}
	})
	if i := bucketOf(1 << 63); i != buckets-1 {
		t.Errorf("the longest of all is in bucket %d", i)
	}
}

func own(t *testing.T) uint32 {
	t.Helper()
	inode, err := namespace.Inode()
	if err != nil {
		t.Fatal(err)
	}
	return inode
}

// begin starts a tracer of one port, or skips the test where the kernel refuses.
func begin(t *testing.T, port uint16) *Tracer {
	t.Helper()
	tracer, err := Start([]uint32{own(t)}, []sockdiag.Ports{{Low: port, High: port}})
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EPERM) || errors.Is(err, os.ErrNotExist) {
		alone.Needed(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tracer.Close(); err != nil {
			t.Error(err)
		}
	})
	if len(tracer.refused) > 0 {
		t.Errorf("refused: %v", tracer.refused)
	}
	return tracer
}

// read returns what was traced when the last of it has come: on a busy machine a segment
// may wait for its soft interrupt.
func read(t *testing.T, tracer *Tracer, last func(metrics.Trace) bool) (metrics.Trace, map[string]metrics.Histogram) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		trace, histograms, err := tracer.Read()
		if err != nil {
			t.Fatal(err)
		}
		if last(trace) || time.Since(began) > time.Minute {
			return trace, histograms
		}
	}
}

// Every connection goes through the states of its side, and others' are not counted.
func TestTransitionsAndHandshakes(t *testing.T) {
	for _, address := range alone.Loopbacks(t) {
		l := alone.Listen(t, "tcp", address, 0)
		port := alone.At(l).Port()
		other := alone.Listen(t, "tcp", address, 0)
		tracer := begin(t, port)
		const n = 20
		for range n {
			client, server := alone.Pair(t, l)
			client.CloseWrite()
			io.Copy(io.Discard, server)
			server.Close()
			io.Copy(io.Discard, client)
			client.Close()
			c, s := alone.Pair(t, other)
			c.Close()
			s.Close()
		}
		trace, histograms := read(t, tracer, func(r metrics.Trace) bool { return r.Transitions["server LAST_ACK CLOSE"] == n })
		for _, change := range []string{
			"client CLOSE SYN_SENT", "client SYN_SENT ESTABLISHED", "client ESTABLISHED FIN_WAIT1", "client FIN_WAIT1 FIN_WAIT2",
			"server SYN_RECV ESTABLISHED", "server ESTABLISHED CLOSE_WAIT", "server CLOSE_WAIT LAST_ACK", "server LAST_ACK CLOSE",
		} {
			if trace.Transitions[change] != n {
				t.Errorf("%s: %s %d times, want %d", address, change, trace.Transitions[change], n)
			}
		}
		for _, name := range []string{metrics.HandshakeClient, metrics.HandshakeServer} {
			if h := histograms[name]; h.Count != n || h.Min <= 0 {
				t.Errorf("%s: %s: %d samples, %d to %d ns", address, name, h.Count, h.Min, h.Max)
			}
		}
		// The server is established by the client's ACK, a moment after the client.
		if c, s := histograms[metrics.HandshakeClient], histograms[metrics.HandshakeServer]; s.P50 < c.P50 {
			t.Errorf("%s: the server after %d ns, before the client after %d", address, s.P50, c.P50)
		}
		if len(trace.Retransmits) != 0 || len(trace.ResetsSent) != 0 || len(trace.ResetsReceived) != 0 {
			t.Errorf("%s: out of nothing: %+v", address, trace)
		}
	}
}

// Resets, by the side that sends them and the reason that the kernel has.
func TestResets(t *testing.T) {
	l := alone.Listen(t, "tcp", "127.0.0.1:0", 0)
	port := alone.At(l).Port()
	tracer := begin(t, port)
	const n = 5
	for range n { // the client aborts
		client, server := alone.Pair(t, l)
		client.SetLinger(0)
		client.Close()
		io.Copy(io.Discard, server)
		server.Close()
	}
	for range n { // the server closes with data unread
		client, server := alone.Pair(t, l)
		client.Write([]byte("hello"))
		awaitData(t, server)
		server.Close()
		io.Copy(io.Discard, client)
		client.Close()
	}
	l.Close()
	for range n { // nobody listens
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			c.Close()
			t.Error("somebody does")
		}
	}
	trace, _ := read(t, tracer, func(r metrics.Trace) bool {
		return r.ResetsReceived["client"] == 2*n && r.ResetsReceived["server"] == n
	})
	sum := func(counts map[string]uint64, side string) (total uint64) {
		for name, k := range counts {
			if strings.HasPrefix(name, side) {
				total += k
			}
		}
		return total
	}
	if c, s := sum(trace.ResetsSent, "client"), sum(trace.ResetsSent, "server"); c != n || s != 2*n {
		t.Errorf("the client sent %d, the server %d; want %d and %d: %v", c, s, n, 2*n, trace.ResetsSent)
	}
	if c, s := trace.ResetsReceived["client"], trace.ResetsReceived["server"]; c != 2*n || s != n {
		t.Errorf("the client took %d, the server %d; want %d and %d", c, s, 2*n, n)
	}
	if len(tracer.reasons) > 0 && trace.ResetsSent["server NO_SOCKET"] != n {
		t.Errorf("nobody listened %d times: %v", n, trace.ResetsSent)
	}
}

// awaitData returns when there is something to read.
func awaitData(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err == nil && n > 0
	})
}

// Another namespace may have connections of the same ports.
func TestNamespacesAreToldApart(t *testing.T) {
	l := alone.Listen(t, "tcp", "127.0.0.1:0", 0)
	port := alone.At(l).Port()
	tracer, err := Start([]uint32{own(t) + 1}, []sockdiag.Ports{{Low: port, High: port}})
	if err != nil {
		alone.Needed(t, err.Error())
	}
	defer tracer.Close()
	client, server := alone.Pair(t, l)
	client.SetLinger(0)
	client.Close()
	server.Close()
	if trace, _ := read(t, tracer, func(metrics.Trace) bool { return true }); len(trace.Transitions)+len(trace.ResetsSent)+len(trace.ResetsReceived) != 0 {
		t.Errorf("%+v", trace)
	}
}

// A SYN for which a full accept queue has no room is sent again, and the handshake takes a
// second.
func TestRetransmits(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	l := alone.Listen(t, "tcp", "127.0.0.1:9000", 0)
	port := alone.At(l).Port()
	tracer := begin(t, port)
	backlog(t, l, 0) // room for one
	first, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	read(t, tracer, func(r metrics.Trace) bool { return r.Transitions["server SYN_RECV ESTABLISHED"] == 1 })
	second := make(chan error)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			err = c.Close()
		}
		second <- err
	}()
	for overflows(t) == 0 {
		time.Sleep(time.Millisecond)
	}
	backlog(t, l, 10)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	trace, histograms := read(t, tracer, func(r metrics.Trace) bool { return r.Transitions["server SYN_RECV ESTABLISHED"] == 2 })
	// A machine that stands still may let it be sent twice.
	if n := trace.Retransmits["client SYN_SENT"]; n < 1 || len(trace.Retransmits) != 1 {
		t.Errorf("%v", trace.Retransmits)
	}
	if h := histograms[metrics.HandshakeClient]; h.Count != 2 || h.Max < 1e9 {
		t.Errorf("%+v", h)
	}
}

func backlog(t *testing.T, l *net.TCPListener, n int) {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), n) })
	if err != nil {
		t.Fatal(err)
	}
}

// overflows counts the SYNs of this namespace that found an accept queue full.
func overflows(t *testing.T) int64 {
	t.Helper()
	c, err := kernel.ReadCounters()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := c.Value("TcpExt", "ListenOverflows")
	return n
}

// Where the kernel refuses, it is said what and why, and nothing stays behind.
func TestRefused(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	if err := unix.Prctl(unix.PR_CAPBSET_READ, unix.CAP_BPF, 0, 0, 0); err != nil {
		alone.Needed(t, "capabilities")
	}
	// Without any capability, which are a thread's.
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Fatal(err)
	}
	tracer, err := Start([]uint32{own(t)}, []sockdiag.Ports{{Low: 1, High: 1}})
	if err == nil {
		tracer.Close()
		alone.Needed(t, "a kernel that refuses BPF to those without a privilege")
	}
	if !strings.HasPrefix(err.Error(), "trace: ") || !errors.Is(err, unix.EPERM) && !strings.Contains(err.Error(), "not permitted") {
		t.Error(err)
	}
}
