package kernel

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/witness"
)

// pair is a connection, both ends in this process.
type pair struct{ client, server *net.TCPConn }

func pairsOf(t *testing.T, network, address string, n int) (all []pair) {
	t.Helper()
	l := alone.Listen(t, network, address, 0)
	for range n {
		client, server := alone.Pair(t, l)
		all = append(all, pair{client, server})
	}
	return all
}

// TestCountersOfLiveConnections opens connections and holds every counter against what the
// witnesses read, and those of connections against what was done.
func TestCountersOfLiveConnections(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	const n = 137
	before, err := ReadCounters()
	if err != nil {
		t.Fatal(err)
	}
	othersBefore := witness.Counters(t)
	pairs := pairsOf(t, "tcp4", "127.0.0.1:0", n)
	after, err := ReadCounters()
	if err != nil {
		t.Fatal(err)
	}
	othersAfter := witness.Counters(t)

	moved := after.Sub(before)
	for _, name := range []string{"ActiveOpens", "PassiveOpens", "CurrEstab"} {
		want := int64(n)
		if name == "CurrEstab" {
			want = 2 * n // both ends are in this namespace
		}
		if got := moved["Tcp"][name]; got != want {
			t.Errorf("Tcp %s moved by %d, want %d", name, got, want)
		}
	}
	for by, others := range othersAfter {
		if got, want := moved["Tcp"]["ActiveOpens"], others["TcpActiveOpens"]-othersBefore[by]["TcpActiveOpens"]; got != want {
			t.Errorf("Tcp ActiveOpens moved by %d, and by %d as %s has it", got, want, by)
		}
		compared := 0
		for _, g := range after.layout.groups {
			for _, name := range g.names {
				got, _ := after.Value(g.name, name)
				want, ok := others[g.name+name]
				if !ok { // nstat leaves out what is a setting: RtoMin, MaxConn …
					continue
				}
				compared++
				if got != want {
					t.Errorf("%s %s: got %d, %s has %d", g.name, name, got, by, want)
				}
			}
		}
		if compared < 100 {
			t.Errorf("%s knows only %d of %d counters", by, compared, len(after.values))
		}
	}
	for _, p := range pairs {
		p.client.Close()
		p.server.Close()
	}
}

func TestSockstatOfLiveConnections(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	n, err := OpenNet()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	empty, err := n.Sockstat()
	if err != nil {
		t.Fatal(err)
	}
	if empty.InUse != 0 || empty.InUse6 != 0 || empty.TimeWait != 0 {
		t.Errorf("nothing opened yet: %+v", empty)
	}
	pairs := pairsOf(t, "tcp4", "127.0.0.1:0", 20)
	want6 := int64(0)
	if alone.IPv6(t) {
		pairs6 := pairsOf(t, "tcp6", "[::1]:0", 10)
		pairs, want6 = append(pairs, pairs6...), 2*10+1
	}
	open, err := n.Sockstat()
	if err != nil {
		t.Fatal(err)
	}
	if open.InUse != 2*20+1 || open.InUse6 != want6 || open.TimeWait != 0 {
		t.Errorf("20 connections of both ends and a listener, %d sockets of IPv6: %+v", want6, open)
	}
	if open.Alloc < 2*20+1+want6 {
		t.Errorf("%d sockets opened, %d allocated on the whole machine", 2*20+1+want6, open.Alloc)
	}
	for _, p := range pairs {
		p.client.Close()
		if _, err := p.server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the other end read %v, want EOF", err)
		}
		p.server.Close()
	}
	// The last ACKs may be left to ksoftirqd, so close may return before TIME_WAIT.
	want := int64(len(pairs))
	var closed Sockets
	for deadline := time.Now().Add(alone.Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if closed, err = n.Sockstat(); err != nil {
			t.Fatal(err)
		}
		if closed.TimeWait == want && closed.InUse == 1 {
			return
		}
	}
	t.Errorf("%d connections closed, listeners left: %+v", want, closed)
}

// TestNetStaysInItsNamespace opens a Net in a namespace and reads it from outside.
func TestNetStaysInItsNamespace(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	there := make(chan *Net)
	go func() {
		defer close(there)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		n, err := OpenNet()
		if err != nil {
			t.Error(err)
			return
		}
		there <- n
	}()
	n, ok := <-there
	if !ok {
		return
	}
	defer n.Close()
	pairs := pairsOf(t, "tcp4", "127.0.0.1:0", 3)
	defer func() {
		for _, p := range pairs {
			p.client.Close()
			p.server.Close()
		}
	}()
	var c Counters
	if err := n.Counters(&c); err != nil {
		t.Fatal(err)
	}
	if opens, ok := c.Value("Tcp", "ActiveOpens"); !ok || opens != 0 {
		t.Errorf("ActiveOpens of another namespace: %d, %t, want 0", opens, ok)
	}
	here, err := ReadCounters()
	if err != nil {
		t.Fatal(err)
	}
	if opens, _ := here.Value("Tcp", "ActiveOpens"); opens != 3 {
		t.Errorf("ActiveOpens of this namespace: %d, want 3", opens)
	}
	s, err := n.Sockstat()
	if err != nil || s.InUse != 0 {
		t.Errorf("sockets of another namespace: %+v, %v, want none in use", s, err)
	}
}

// TestNetLeaksNothing counts descriptors, and what two readings allocate.
func TestNetLeaksNothing(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := descriptors()
	for range 3 {
		if _, err := ReadCounters(); err != nil {
			t.Fatal(err)
		}
		if _, err := Sockstat(); err != nil {
			t.Fatal(err)
		}
		if _, err := Stat(); err != nil {
			t.Fatal(err)
		}
	}
	if after := descriptors(); after != before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
	n, err := OpenNet()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var c Counters
	read := func() {
		if err := n.Counters(&c); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Sockstat(); err != nil {
			t.Fatal(err)
		}
	}
	if allocs := testing.AllocsPerRun(10, read); allocs != 0 {
		t.Errorf("a reading allocates %v times", allocs)
	}
}

// TestAppendFileReadsOn holds that a file longer than the memory is read whole.
func TestAppendFileReadsOn(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	var want []byte
	for i := range 3000 {
		want = fmt.Appendf(want, "line %d\n", i)
	}
	w.Write(want)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, start := range []string{"", "kept "} {
		got, err := appendFile(append(make([]byte, 0, 10), start...), f)
		if err != nil || string(got) != start+string(want) {
			t.Errorf("behind %q: got %d bytes, %v, want %d", start, len(got), err, len(start)+len(want))
		}
	}
}

func BenchmarkNetCounters(b *testing.B) {
	n, err := OpenNet()
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	var c Counters
	b.ReportAllocs()
	for b.Loop() {
		if err := n.Counters(&c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNetSockstat(b *testing.B) {
	n, err := OpenNet()
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Sockstat(); err != nil {
			b.Fatal(err)
		}
	}
}
