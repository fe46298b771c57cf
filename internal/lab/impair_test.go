package lab

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"strings"
	"tcpbench/internal/segment"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseImpairment(t *testing.T) {
	i, err := ParseImpairment("loss=1.5%,every=100,drop=syn+ack,drop=ack,rate=100mbit,delay=10ms,jitter=2ms")
	if err != nil {
		t.Fatal(err)
	}
	if i.Loss != 0.015 || i.Every != 100 || len(i.Drop) != 2 || i.Drop[0] != segment.SYN|segment.ACK || i.Rate != 100e6 || i.Delay != 10*time.Millisecond || i.Jitter != 2*time.Millisecond {
		t.Errorf("%+v", i)
	}
	for text, want := range map[string]string{
		"":              "KEY=VALUE",
		"loss":          "KEY=VALUE",
		"los=1%":        "did you mean loss?",
		"colour=red":    "want loss, every",
		"loss=101%":     "0% to 100%",
		"loss=-1":       "0% to 100%",
		"loss=NaN":      "0% to 100%",
		"every=0":       "1 or more",
		"drop=psh+urg":  "no flag",
		"rate=100":      "as in 100mbit",
		"rate=1bit":     "8kbit",
		"rate=NaNmbit":  "8kbit",
		"delay=2h":      "0s to 1m",
		"jitter=1ms":    "add delay=",
		"delay=1ms,,":   "KEY=VALUE",
		"rate=1e99gbit": "1000gbit",
	} {
		if _, err := ParseImpairment(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// What String writes reads back as the same.
func TestImpairmentsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := Impairment{
			Loss: float64(rapid.IntRange(0, 1000).Draw(t, "loss")) / 1000, Every: rapid.Uint32Range(0, 1000).Draw(t, "every"),
			Delay: time.Duration(rapid.IntRange(1, 1000).Draw(t, "delay")) * time.Microsecond,
		}
		if rapid.Bool().Draw(t, "rated") {
			i.Rate = rapid.Uint64Range(8000, 1e11).Draw(t, "rate")
		}
		for _, f := range rapid.SliceOfN(rapid.IntRange(1, 31), 0, 3).Draw(t, "drop") {
			i.Drop = append(i.Drop, segment.Flags(f))
		}
		got, err := ParseImpairment(i.String())
		if err != nil || got.String() != i.String() || math.Abs(got.Loss-i.Loss) > 1e-12 {
			t.Fatalf("%q reads back as %+v, %v", i.String(), got, err)
		}
	})
}

func parsed(t *testing.T, text string) Impairment {
	t.Helper()
	i, err := ParseImpairment(text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// datagrams sends n of them to the server, one after the other, and tells how many came.
func datagrams(t *testing.T, l *Lab, n int) (came int) {
	t.Helper()
	var in, out *net.UDPConn
	if err := l.Server.Do(func() (err error) {
		in, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IP(l.Server.V4.AsSlice()), Port: 9})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := l.Client.Do(func() (err error) {
		out, err = net.DialUDP("udp", nil, in.LocalAddr().(*net.UDPAddr))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in.SetReadBuffer(4 << 20)
	for i := range n {
		if _, err := out.Write(binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 8)
	for last := -1; ; came++ {
		in.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := in.Read(b); err != nil {
			return came
		}
		if i := int(binary.BigEndian.Uint32(b)); i <= last {
			t.Errorf("datagram %d came behind %d", i, last)
		} else {
			last = i
		}
	}
}

// The link loses as many packets as it was asked to, and its counter says so.
func TestLoss(t *testing.T) {
	const n = 400 // as many as fit into a socket's buffer on any machine
	for _, tt := range []struct {
		how         string
		least, most int // that come
	}{
		{"every=10", n - n/10, n - n/10},
		{"loss=20%", n*8/10 - 40, n*8/10 + 40}, // five standard deviations
		{"loss=100%", 0, 0},
		{"drop=syn", n, n},
	} {
		l := newLab(t, Link{ToServer: parsed(t, tt.how)})
		came := datagrams(t, l, n)
		if came < tt.least || came > tt.most {
			t.Errorf("%s: %d of %d came, want %d to %d", tt.how, came, n, tt.least, tt.most)
		}
		toServer, toClient, err := l.Carried()
		if err != nil {
			t.Fatal(err)
		}
		if lost := int(toServer.Lost); lost != n-came || toClient.Lost != 0 {
			t.Errorf("%s: %d came of %d, and %d are counted as lost", tt.how, came, n, toServer.Lost)
		}
	}
}

// Segments are told apart by their flags: a handshake fails without its SYN, its SYN-ACK
// or its last ACK, each in its way.
func TestDrop(t *testing.T) {
	for _, tt := range []struct {
		link  Link
		fails bool
	}{
		{Link{ToServer: parsed(t, "drop=syn")}, true},
		{Link{ToClient: parsed(t, "drop=syn+ack")}, true},
		{Link{ToServer: parsed(t, "drop=ack")}, false}, // the client is connected, and the server is not
		{Link{ToServer: parsed(t, "drop=fin+ack")}, false},
		{Link{ToClient: parsed(t, "drop=syn")}, false}, // a SYN-ACK is another segment
	} {
		l := newLab(t, tt.link)
		listenIn(t, l.Server, "198.18.255.1:9000")
		call := func() error { return dialFrom(l.Client, "", "198.18.255.1:9000") }
		if tt.fails {
			call = func() error { return dialInVain(l.Client, "198.18.255.1:9000") }
		}
		if err := call(); (err != nil) != tt.fails {
			t.Errorf("%+v: %v", tt.link, err)
		}
	}
}

// A bounded rate is kept: what is sent takes as long as it must, and not twice as long.
func TestRate(t *testing.T) {
	l := newLab(t, Link{ToClient: parsed(t, "rate=80mbit")})
	listener := listenIn(t, l.Server, "198.18.255.1:9000")
	const bytes = 4 << 20 // 0.42 s at 10 MB/s
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Write(make([]byte, bytes))
	}()
	var c net.Conn
	if err := l.Client.Do(func() (err error) {
		c, err = net.Dial("tcp", "198.18.255.1:9000")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	if n, err := io.Copy(io.Discard, c); n != bytes || err != nil {
		t.Fatal(n, err)
	}
	// The bucket's first content goes at once.
	if took := time.Since(began); took < 350*time.Millisecond || took > 2*time.Second {
		t.Errorf("%d bytes took %v", bytes, took)
	}
}

// A delay is in every round trip, and how late packets are is measured, on a gated link too.
func TestDelay(t *testing.T) {
	for _, gated := range []bool{false, true} {
		l := newLab(t, Link{ToServer: parsed(t, "delay=30ms"), ToClient: parsed(t, "delay=20ms,jitter=5ms"), Gated: gated})
		for _, address := range []string{"198.18.255.1:9000", "[fd00:18::ff:1]:9000"} {
			listenIn(t, l.Server, address)
			began := time.Now()
			if err := dialFrom(l.Client, "", address); err != nil {
				t.Fatal(address, err)
			}
			if took := time.Since(began); took < 50*time.Millisecond {
				t.Errorf("%s: connected after %v, want 50 ms or more", address, took)
			}
		}
		// A packet counts when it has been sent, and the other side may have it by then.
		toServer, toClient, err := l.Carried()
		for began := time.Now(); err == nil && min(toServer.Verbs["delay"].Done, toClient.Verbs["delay"].Done) < 2 && time.Since(began) < 20*time.Second; {
			time.Sleep(time.Millisecond)
			toServer, toClient, err = l.Carried()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []Carried{toServer, toClient} {
			if c.Late == nil || c.Late.Count < 2 || c.Late.Min < 0 || c.Verbs["delay"].Done < 2 || c.QueueOverflows+c.RingOverflows != 0 {
				t.Errorf("%+v", c)
			}
		}
		// From each of the client's addresses, too, and with a filter and a rate on top.
		l = newLab(t, Link{ToServer: parsed(t, "delay=1ms,rate=10mbit,drop=rst"), Gated: gated})
		listenIn(t, l.Server, "198.18.255.1:9000")
		if err := dialFrom(l.Client, "198.18.1.200:0", "198.18.255.1:9000"); err != nil {
			t.Error(err)
		}
	}
}

// However much their delay differs, packets arrive in the order in which they were sent, and
// not all at once.
func TestJitterKeepsTheOrder(t *testing.T) {
	for _, gated := range []bool{false, true} {
		l := newLab(t, Link{ToServer: parsed(t, "delay=5ms,jitter=20ms"), Gated: gated})
		if came := datagrams(t, l, 200); came != 200 {
			t.Errorf("gated %v: %d of 200 came", gated, came)
		}
	}
}

func FuzzParseImpairment(f *testing.F) {
	f.Add("loss=1%,every=100,drop=syn+ack,rate=100mbit,delay=10ms,jitter=2ms")
	f.Fuzz(func(t *testing.T, text string) {
		i, err := ParseImpairment(text)
		if err != nil {
			return
		}
		if i.Loss < 0 || i.Loss > 1 || i.Delay < 0 || i.Delay > longestDelay || i.Jitter > longestDelay || i.Rate > mostRate {
			t.Errorf("%q: %+v", text, i)
		}
	})
}

// A lab ends at once, whatever is still under way in it.
func TestALabEndsWithPacketsUnderWay(t *testing.T) {
	l := newLab(t, Link{ToServer: parsed(t, "delay=1m")})
	if err := dialInVain(l.Client, "198.18.255.1:9000"); err == nil {
		t.Error("connected within no time")
	}
	ended := make(chan error)
	go func() { ended <- l.Close() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for packets that nobody will read")
	}
}
