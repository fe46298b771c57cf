package kernel

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"tcpbench/internal/alone"
	"tcpbench/internal/witness"
	"tcpbench/metrics"
)

// The samplers of a run stay within their share of a processor, however fast the population grows
// and however slow the machine, the first and the last census of each included; and they use most of
// what they may.
func TestPace(t *testing.T) {
	const sample = 150 * time.Microsecond
	for _, tt := range []struct {
		base, each time.Duration // of a census, and of each socket in it
		rate       int64         // sockets that come to the first of two samplers per second
		last       time.Duration
	}{
		{300 * time.Microsecond, 250, 0, time.Second},
		{500 * time.Microsecond, 300, 30_000, 3 * time.Second},
		{2500 * time.Microsecond, 300, 30_000, 3 * time.Second},
		{2500 * time.Microsecond, 900, 5_000, 5 * time.Second}, // a slow machine
		{8 * time.Millisecond, 300, 20_000, 5 * time.Second},   // many sockets of others
		{500 * time.Microsecond, 300, 20_000, time.Minute},
	} {
		var budget Budget
		pacers := []pacer{{Budget: &budget}, {Budget: &budget}}
		censuses := 0
		look := func(p *pacer, rate int64, at time.Duration, last bool) {
			sockets := int64(at.Seconds() * float64(rate))
			if cost := tt.base + time.Duration(sockets)*tt.each; last || p.due(at, sockets) {
				p.took(cost)
				p.made(cost, sockets)
				censuses++
			}
			p.took(sample)
		}
		for at := time.Duration(0); at <= tt.last; at += Fastest {
			look(&pacers[0], tt.rate, at, at == tt.last)
			look(&pacers[1], 0, at, at == tt.last)
		}
		share := float64(budget.spent.Load()) / float64(tt.last)
		if most := 2 * int(tt.last/Fastest+1); share > MostShare || censuses < 5 || share < MostShare/3 && censuses < most {
			t.Errorf("%+v: %d censuses of at most %d, %.2f %% of a processor", tt, censuses, most, 100*share)
		}
	}
}

// However long a run is, the timeline has a bounded number of rows, and loses no growth.
func TestTimelineIsBounded(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	l := alone.Listen(t, "tcp4", "127.0.0.1:0", 0)
	spent := &Budget{} // for a census of each sample would take its time
	spent.spent.Store(int64(time.Hour))
	o, err := NewSampler(Watch{Servers: []netip.AddrPort{alone.At(l)}, RangeSize: 100, IPv4: true, Budget: spent})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	const samples, connects = 3*mostSamples + 7, 20
	for i := range samples {
		if i%(samples/connects) == 1 {
			c := alone.Dial(t, l, nil)
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.SetLinger(0)
			c.Close()
			accepted.Close()
		}
		// The clock is the caller's: an hour passes at once.
		if err := o.Sample(time.Duration(i) * Fastest); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Finish(samples * Fastest); err != nil {
		t.Fatal(err)
	}
	v, err := o.Namespace("both", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	rows := len(v.Timeline.T)
	if rows >= mostSamples || rows < mostSamples/4 || v.Cost.Samples != samples+1 {
		t.Errorf("%d rows of %d samples", rows, v.Cost.Samples)
	}
	if v.Timeline.T[0] < -10 || v.Timeline.T[0] > -9 {
		t.Errorf("the first row is at %v s", v.Timeline.T[0])
	}
	for name, column := range v.Timeline.Sockets {
		if len(column) != rows {
			t.Errorf("%s: %d values in %d rows", name, len(column), rows)
		}
	}
	sum := int64(0)
	for _, n := range v.Timeline.Counters["Tcp.ActiveOpens"] {
		sum += n
	}
	// The last rows may wait for their turn.
	if opens := v.Counters["Tcp"]["ActiveOpens"]; opens < connects || sum < opens-1 || sum > opens {
		t.Errorf("%d ActiveOpens in the timeline of %d, %d connected", sum, opens, connects)
	}
}

// The run's own TIME_WAIT, its FIN_WAIT_2 and what the whole namespace has are three numbers:
// sockstat counts all of them in one, and those of others too.
func TestTimeWaitIsTheRunsOwn(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.tcp_rfc1337=1", "net.ipv4.tcp_tw_reuse=0") {
		return
	}
	own, other := alone.Listen(t, "tcp4", "127.0.0.1:0", 0), alone.Listen(t, "tcp4", "127.0.0.1:0", 0)
	for range 3 {
		alone.LeaveTimeWait(t, own)
	}
	for range 4 {
		alone.LeaveTimeWait(t, other)
	}
	for range 2 { // no process has the client's socket any more: the kernel keeps FIN_WAIT_2 as small as TIME_WAIT
		client, server := alone.Pair(t, own)
		client.Close()
		if _, err := io.ReadAll(server); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		s, err := Sockstat()
		if err != nil || time.Since(began) > alone.Patience {
			t.Fatalf("%+v, %v", s, err)
		}
		if s.TimeWait == 3+4+2 {
			break
		}
	}
	o, err := NewSampler(Watch{Servers: []netip.AddrPort{alone.At(own)}, RangeSize: 100, IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := o.Finish(0); err != nil {
		t.Fatal(err)
	}
	h, err := o.Histograms()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{metrics.TimeWaitSockets: 3, metrics.FinWait2Sockets: 2, metrics.NamespaceTimeWait: 9} {
		if h[name].Max != want || h[name].Unit != metrics.SocketsUnit {
			t.Errorf("%s: %d %s, want %d", name, h[name].Max, h[name].Unit, want)
		}
	}
	v, err := o.Namespace("both", 0)
	if n, ok := v.Peak("client", "TIME_WAIT"); err != nil || !ok || n != 3 {
		t.Errorf("the view has %d of the client in TIME_WAIT (%v), want 3; %v", n, ok, err)
	}
}

// Spaces beyond those that a census tells apart are not left out in silence.
func TestSpacesThatAreLeftOut(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	l := alone.Listen(t, "tcp4", "127.0.0.1:0", 0)
	o, err := NewSampler(Watch{Servers: []netip.AddrPort{alone.At(l)}, RangeSize: 100, IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	w, err := NewWatcher(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	o.census.Spaces, w.census.Spaces = 3, 3
	for i := range 5 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i))}}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(t.Context(), "tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if err := o.Finish(0); err != nil {
		t.Fatal(err)
	}
	v, err := o.Namespace("both", 0)
	if err != nil || v.Spaces.Count != 3 || v.Spaces.Left != 2 {
		t.Errorf("%+v, %v; want 3 spaces and 2 sockets in none", v.Spaces, err)
	}
	m, err := w.Look(time.Now(), 1)
	if err != nil || m.Spaces != 3 || m.SpacesLeft != 2 {
		t.Errorf("%d spaces, %d sockets in none, %v; want 3 and 2", m.Spaces, m.SpacesLeft, err)
	}
}

// Accept queues are looked at with every sample, however rare a census is.
func TestQueuesAreSeenBetweenCensuses(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	l := alone.Listen(t, "tcp4", "127.0.0.1:0", 0)
	spent := &Budget{}
	spent.spent.Store(int64(time.Hour))
	o, err := NewSampler(Watch{Servers: []netip.AddrPort{alone.At(l)}, RangeSize: 100, IPv4: true, Budget: spent})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for waiting := range 4 {
		if err := o.Sample(time.Duration(waiting) * Fastest); err != nil {
			t.Fatal(err)
		}
		alone.Dial(t, l, nil)
	}
	v, err := o.Namespace("both", 0)
	if err != nil || v.Cost.Censuses != 1 || len(v.Listeners) != 1 || v.Listeners[0].Peak != 3 {
		t.Errorf("%+v after %d censuses, %v; want a queue of 3 after one", v.Listeners, v.Cost.Censuses, err)
	}
}

// What the run's listening sockets dropped is what they dropped while they were watched, and what
// others dropped is not in it.
func TestDropsAreTheRunsOwn(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	own, other := alone.Listen(t, "tcp4", "127.0.0.1:0", 1), alone.Listen(t, "tcp4", "127.0.0.1:0", 1)
	overflow := func(l net.Listener, more int) {
		t.Helper()
		before := witness.Counters(t)["/proc"]["TcpExtListenDrops"]
		for range more {
			go net.Dial("tcp4", l.Addr().String())
		}
		for began := time.Now(); witness.Counters(t)["/proc"]["TcpExtListenDrops"] == before; time.Sleep(time.Millisecond) {
			if time.Since(began) > alone.Patience {
				t.Fatal("nothing was dropped")
			}
		}
	}
	for _, l := range []net.Listener{own, other} {
		alone.Dial(t, l, nil)
		alone.Dial(t, l, nil)
	}
	overflow(own, 1)
	o, err := NewSampler(Watch{Servers: []netip.AddrPort{alone.At(own)}, RangeSize: 100, IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	drops := func(at time.Duration) int64 {
		t.Helper()
		if err := o.Finish(at); err != nil {
			t.Fatal(err)
		}
		v, err := o.Namespace("both", 0)
		if err != nil || len(v.Listeners) != 1 {
			t.Fatalf("%+v, %v", v.Listeners, err)
		}
		return v.Listeners[0].Drops
	}
	if n := drops(0); n != 0 {
		t.Errorf("%d drops before anybody looked are counted", n)
	}
	overflow(other, 1)
	overflow(own, 1)
	for at := time.Second; drops(at) == 0; at += time.Second {
		time.Sleep(time.Millisecond)
	}
}

// Half of a range is taken when a space has half of its ports in use.
func TestHalfFull(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	l := alone.Listen(t, "tcp4", "127.0.0.1:0", 0)
	o, err := NewSampler(Watch{Servers: []netip.AddrPort{alone.At(l)}, RangeSize: 8, IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for i, want := range []bool{false, false, false, true} {
		alone.Dial(t, l, nil)
		if err := o.Finish(time.Duration(i) * time.Second); err != nil {
			t.Fatal(err)
		}
		if o.HalfFull() != want {
			t.Errorf("%d of 8 ports: half full is %v", i+1, o.HalfFull())
		}
	}
	h, err := o.Histograms()
	if err != nil || h[metrics.PortsInUse].Max != 4 || h[metrics.PortsInUse].Unit != metrics.PortsUnit {
		t.Errorf("%+v, %v", h, err)
	}
}

// A watcher sees what others see.
func TestWatcherAgreesWithOthers(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=20000 20099") {
		return
	}
	w, err := NewWatcher(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := alone.Listen(t, "tcp4", "127.0.0.1:9000", 0)
	for range 3 {
		alone.Pair(t, s)
	}
	queued := alone.Listen(t, "tcp4", "127.0.0.1:9001", 5)
	for range 2 {
		alone.Dial(t, queued, nil)
	}
	m, err := w.Look(time.Now().Add(time.Second), 1)
	if err != nil {
		t.Fatal(err)
	}
	for by, states := range witness.States(t) {
		for name, n := range states {
			if m.States[name] != n {
				t.Errorf("%s: %d, and %s has %d", name, m.States[name], by, n)
			}
		}
	}
	want := []metrics.Listening{{Addr: "127.0.0.1:9000", Sockets: 1, Limit: m.Listeners[0].Limit}, {Addr: "127.0.0.1:9001", Sockets: 1, Waiting: 2, Fullest: 2, Limit: 5}}
	if len(m.Listeners) != 2 || m.Listeners[0] != want[0] || m.Listeners[1] != want[1] {
		t.Errorf("%+v", m.Listeners)
	}
	fullest := metrics.Destination{Source: "127.0.0.1", Target: "127.0.0.1:9000", Other: 3, Left: 97}
	if m.Spaces != 2 || m.Ports != 100 || len(m.Destinations) != 1 || m.Destinations[0] != fullest {
		t.Errorf("%d spaces: %+v", m.Spaces, m.Destinations)
	}
	if rate := m.Rates["Tcp"]["ActiveOpens"]; rate < 2 || rate > 5 {
		t.Errorf("5 connects in a second or a little more are %v/s", rate)
	}
	if _, gauge := m.Rates["Tcp"]["CurrEstab"]; gauge {
		t.Error("a number of sockets is no counter")
	}
	later, err := w.Look(time.Now().Add(2*time.Second), 0)
	if err != nil || len(later.Destinations) != 0 || later.Rates["Tcp"]["ActiveOpens"] != 0 {
		t.Errorf("%+v, %v", later, err)
	}
}
