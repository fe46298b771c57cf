package sockdiag

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tcpbench/internal/alone"
	"tcpbench/internal/witness"
)

// runs plays a filter as the kernel does (inet_diag_bc_run).
func runs(code []byte, source, dest uint16) bool {
	length := len(code)
	for at := 0; length > 0; {
		op, yes := code[at], int(code[at+1])
		no := int(binary.NativeEndian.Uint16(code[at+2:]))
		holds := true
		switch op {
		case bcJump:
			holds = false
		case bcSourceGE, bcSourceLE, bcDestGE, bcDestLE:
			port := binary.NativeEndian.Uint16(code[at+bcSize+2:])
			switch op {
			case bcSourceGE:
				holds = source >= port
			case bcSourceLE:
				holds = source <= port
			case bcDestGE:
				holds = dest >= port
			case bcDestLE:
				holds = dest <= port
			}
		default:
			panic(fmt.Sprintf("no such instruction %d", op))
		}
		step := no
		if holds {
			step = yes
		}
		length -= step
		at += step
		if length < 0 {
			return false
		}
	}
	return true
}

func TestFilterTakesThePortsAndNoOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ports := rapid.SliceOfNDistinct(rapid.Uint16(), 1, 40, rapid.ID).Draw(t, "ports")
		ranges := RangesOf(ports)
		code := portFilter(ranges)
		near := rapid.OneOf(rapid.Uint16(), rapid.SampledFrom(ports),
			rapid.Map(rapid.SampledFrom(ports), func(p uint16) uint16 { return p + 1 }))
		source, dest := near.Draw(t, "source"), near.Draw(t, "dest")
		want := false
		for _, p := range ports {
			want = want || p == source || p == dest
		}
		if got := runs(code, source, dest); got != want {
			t.Fatalf("%v: from %d to %d: taken %v, want %v", ranges, source, dest, got, want)
		}
	})
}

func TestRangesOf(t *testing.T) {
	got := fmt.Sprint(RangesOf([]uint16{9, 7, 8, 65535, 0, 1, 8}))
	if got != "[{0 1} {7 9} {65535 65535}]" {
		t.Error(got)
	}
}

// The census and the witnesses see the same sockets, in a namespace where nothing
// else runs.
func TestCensusAgreesWithOthers(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.tcp_rfc1337=1", "net.ipv4.tcp_tw_reuse=0") {
		return
	}
	addresses := alone.Loopbacks(t)
	for _, network := range addresses {
		s := alone.Listen(t, "tcp", network, 0)
		for range 3 { // ESTABLISHED
			alone.Pair(t, s)
		}
		for range 4 { // FIN_WAIT2 and CLOSE_WAIT
			client, server := alone.Pair(t, s)
			client.CloseWrite()
			if _, err := io.ReadAll(server); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			alone.LeaveTimeWait(t, s)
		}
	}
	full := alone.Listen(t, "tcp", "127.0.0.1:0", 2)
	for range 3 { // a full accept queue
		alone.Dial(t, full, nil)
	}
	for range 2 { // SYN_SENT: the queue has no room, so the SYN is dropped
		go net.Dial("tcp", full.Addr().String())
	}
	// SYN_RECV: the listener defers connections until they have sent something.
	deferring := alone.Listen(t, "tcp", "127.0.0.1:0", 0)
	setDeferAccept(t, deferring)
	for range 2 {
		alone.Dial(t, deferring, nil)
	}
	census, err := OpenCensus()
	if err != nil {
		t.Fatal(err)
	}
	defer census.Close()
	await := func(state string, n int) {
		for began := time.Now(); witness.States(t)["/proc"][state] < n; time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > alone.Patience {
				t.Fatalf("no %d of %s: %v", n, state, witness.States(t))
			}
		}
	}
	await("SYN_SENT", 2)
	await("SYN_RECV", 2)
	await("TIME_WAIT", 5*len(addresses))
	population, _, err := census.All(&Servers{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for side := range population {
		for state, n := range population[side] {
			if n > 0 {
				got[State(state).String()] += n
			}
		}
	}
	for by, want := range witness.States(t) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the census counts %v, %s %v", got, by, want)
		}
	}
	for _, name := range []string{"ESTABLISHED", "FIN_WAIT2", "CLOSE_WAIT", "TIME_WAIT", "LISTEN", "SYN_SENT", "SYN_RECV"} {
		if got[name] == 0 {
			t.Errorf("no socket in %s", name)
		}
	}
	// No orphan is in FIN_WAIT2, which sockstat would count: all that sent a FIN are open.
	for by, n := range witness.TimeWait(t) {
		if n != got["TIME_WAIT"] {
			t.Errorf("%s has %d TIME_WAIT, the census %d", by, n, got["TIME_WAIT"])
		}
	}
	agreeOnListeners(t, census, len(addresses)+2, full.Addr().String(), deferring.Addr().String())
}

// agreeOnListeners holds the accept queues that a census shows against what others show; that
// of full has 3 connections, and a limit of 2.
func agreeOnListeners(t *testing.T, census *Census, n int, full, deferring string) {
	t.Helper()
	listeners, err := census.Listeners(nil)
	if err != nil || len(listeners) != n {
		t.Fatalf("%+v, %v", listeners, err)
	}
	for _, l := range listeners {
		for by, want := range witness.Accept(t, l.Addr.Port()) {
			if l.Queue != want.Waiting || want.Limit != witness.UnknownLimit && l.Limit != want.Limit {
				t.Errorf("%+v, and %s has %+v", l, by, want)
			}
		}
		switch {
		case l.Addr.String() == full:
			// Two SYNs found it full, and may have been sent again.
			if l.Queue != 3 || l.Limit != 2 || l.Drops < 2 {
				t.Errorf("%d wait, the limit is %d and %d SYNs were dropped, want 3, 2 and 2 or more", l.Queue, l.Limit, l.Drops)
			}
		case l.Addr.String() == deferring: // drops what has no data
		case l.Drops != 0:
			t.Errorf("%+v has dropped something, and had room", l)
		}
	}
}

func setDeferAccept(t *testing.T, l *net.TCPListener) {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60) })
	if err != nil {
		t.Fatal(err)
	}
}

// Only what has one of the ports is counted, each side as itself, and the client's ports by
// their space.
func TestCensusIsFiltered(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	mine, other := alone.Listen(t, "tcp", "127.0.0.1:0", 0), alone.Listen(t, "tcp", "127.0.0.1:0", 0)
	for range 3 {
		alone.Pair(t, mine)
	}
	alone.Pair(t, other)
	census, err := OpenCensus()
	if err != nil {
		t.Fatal(err)
	}
	defer census.Close()
	addr := netip.MustParseAddrPort(mine.Addr().String())
	uses := map[Space]Use{{}: {}} // of an earlier census
	p, left, err := census.Count(ServersAt([]netip.AddrPort{alone.At(mine)}), uses)
	if err != nil || left != 0 {
		t.Fatal(left, err)
	}
	var want Population
	want[Client][Established], want[Server][Established], want[Server][Listen] = 3, 3, 1
	if p != want {
		t.Errorf("%v, want %v", p, want)
	}
	space := Space{netip.MustParseAddr("127.0.0.1"), addr}
	if len(uses) != 1 || uses[space] != (Use{Other: 3}) {
		t.Errorf("%v, want 3 ports of %v", uses, space)
	}
	if _, _, err := census.Count(&Servers{}, nil); err == nil {
		t.Error("a census of no ports was accepted")
	}
	// As many ranges as there may be.
	many := make([]netip.AddrPort, mostRanges)
	for i := range many {
		many[i] = netip.AddrPortFrom(addr.Addr(), uint16(2*i+1))
	}
	if _, _, err := census.Count(ServersAt(many), nil); err != nil {
		t.Error(err)
	}
}

// A client may have the number of the server's port for its own, and others may listen on it at
// another address: the address decides.
func TestSidesAreToldByTheAddress(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	s := alone.Listen(t, "tcp4", "127.0.0.1:0", 0)
	server := alone.At(s)
	same := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(server.Port())}}
	same.SetMultipathTCP(false)
	c, err := same.DialContext(t.Context(), "tcp4", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other := alone.Listen(t, "tcp4", fmt.Sprintf("127.0.0.3:%d", server.Port()), 0)
	alone.Pair(t, other)
	census, err := OpenCensus()
	if err != nil {
		t.Fatal(err)
	}
	defer census.Close()
	everywhere := netip.AddrPortFrom(netip.IPv4Unspecified(), server.Port())
	for _, tt := range []struct {
		servers                 []netip.AddrPort
		client, server, listens int
	}{{[]netip.AddrPort{server}, 1, 1, 1}, {[]netip.AddrPort{everywhere}, 1, 3, 2}, {append([]netip.AddrPort{alone.At(other)}, server), 2, 2, 2}} {
		uses := map[Space]Use{}
		p, _, err := census.Count(ServersAt(tt.servers), uses)
		if err != nil {
			t.Fatal(err)
		}
		var want Population
		want[Client][Established], want[Server][Established], want[Server][Listen] = tt.client, tt.server, tt.listens
		if p != want || len(uses) != tt.client {
			t.Errorf("servers at %v: %v, want %v; spaces %v", tt.servers, p, want, uses)
		}
	}
}

func TestCensusReadsOnlyWhatIsSound(t *testing.T) {
	message := func(kind uint16, seq uint32, body []byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = binary.NativeEndian.AppendUint16(b, 0)
		b = binary.NativeEndian.AppendUint32(b, seq)
		return append(binary.NativeEndian.AppendUint32(b, 0), body...)
	}
	errno := func(e unix.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e))) }
	for _, tt := range []struct {
		name string
		in   []byte
		done bool
		want string
	}{
		{"nothing", nil, false, ""},
		{"end", message(unix.NLMSG_DONE, 1, nil), true, ""},
		{"end of another", message(unix.NLMSG_DONE, 2, nil), false, ""},
		{"refused", message(unix.NLMSG_ERROR, 1, errno(unix.EPERM)), false, "operation not permitted"},
		{"acknowledged", message(unix.NLMSG_ERROR, 1, errno(0)), true, ""},
		{"half an error", message(unix.NLMSG_ERROR, 1, []byte{1}), false, "without an error"},
		{"half a socket", message(sockDiagByFamily, 1, make([]byte, 71)), false, "71 bytes"},
		{"too long", message(unix.NLMSG_DONE, 1, nil)[:15], false, ""},
		{"lies", []byte{255, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, false, "255 bytes in 16"},
		{"shorter than itself", []byte{3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, false, "3 bytes in 16"},
	} {
		done, err := read(tt.in, 1, false, (&tally{servers: &Servers{}}).add)
		if done != tt.done || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", tt.name, done, err)
		}
	}
}

func FuzzCensus(f *testing.F) {
	f.Add(make([]byte, 100), true)
	b := binary.NativeEndian.AppendUint32(nil, 88)
	b = append(binary.NativeEndian.AppendUint16(b, sockDiagByFamily), 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, unix.AF_INET, 1)
	f.Add(append(b, make([]byte, 70)...), false)
	f.Fuzz(func(t *testing.T, b []byte, listeners bool) {
		c := tally{servers: ServersAt([]netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), 7)}), strangers: true, uses: new(usage)}
		c.uses.reset(MostSpaces)
		visit := c.add
		if listeners {
			visit = func(_ State, b []byte) { listenerOf(b) }
		}
		_, _ = read(b, 1, false, visit)
		if len(c.uses.counts) > MostSpaces {
			t.Error("too many spaces")
		}
	})
}

// BenchmarkCensus counts the sockets of a namespace with 100,000 in TIME_WAIT.
func BenchmarkCensus(b *testing.B) {
	if os.Getenv("TCPBENCH_CENSUS_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkCensus$", "-test.benchtime=20x")
		cmd.Env = append(os.Environ(), "TCPBENCH_CENSUS_CHILD=1")
		cmd.SysProcAttr = alone.Network()
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Skipf("NOT MEASURED: %v\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "BenchmarkCensus") {
				b.Log(strings.TrimSpace(line))
			}
		}
		return
	}
	alone.LoopbackUp(b)
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte("200000"), 0); err != nil {
		b.Fatal(err)
	}
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	const n = 100_000
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}}
		c, err := d.Dial("tcp4", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
	census, err := OpenCensus()
	if err != nil {
		b.Fatal(err)
	}
	defer census.Close()
	census.IPv4 = true
	servers := ServersAt([]netip.AddrPort{alone.At(listener)})
	uses := map[Space]Use{}
	b.ReportAllocs()
	counted := 0
	for b.Loop() { // with b.N the population would be made again for each trial
		p, _, err := census.Count(servers, uses)
		if err != nil {
			b.Fatal(err)
		}
		counted = p[Client][TimeWait]
	}
	b.ReportMetric(float64(counted), "sockets")
	if counted == 0 {
		b.Error("nothing was counted")
	}
}
