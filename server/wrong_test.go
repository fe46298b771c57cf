package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"tcpbench/internal/wire"
)

// wrongs are the wrong inputs, each with the reason that it counts under.
func wrongs() map[string]struct {
	in  []byte
	why Reason
} {
	sound := wire.Script{RequestSize: 4, ResponseSize: 4, Exchanges: 1}
	with := func(i int, v byte) []byte {
		b := opening(sound)
		b[i] = v
		return b
	}
	type wrong = struct {
		in  []byte
		why Reason
	}
	return map[string]wrong{
		"http":              {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), NotAHeader},
		"tls":               {[]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0}, NotAHeader},
		"one wrong byte":    {[]byte{0}, NotAHeader},
		"second byte":       {[]byte("tx"), NotAHeader},
		"next version":      {with(2, wire.Version+1), UnknownVersion},
		"refusal":           {wire.NoDescriptors.Append(nil), ImpossibleScript},
		"unknown kind":      {with(3, 0xf0), ImpossibleScript},
		"answer":            {with(3, byte(wire.HelloReply)<<4), ImpossibleScript},
		"never by RST":      {with(3, byte(wire.Never)<<2|byte(wire.RST)), ImpossibleScript},
		"unknown close":     {with(3, 0x03), ImpossibleScript},
		"beat, no pings":    {with(15, 1), ImpossibleScript},
		"empty exchanges":   {wire.Script{Exchanges: 2}.Append(nil), ImpossibleScript},
		"endless server":    {wire.Script{CloseBy: wire.Server}.Append(nil), ImpossibleScript},
		"large request":     {wire.Script{RequestSize: 1 << 31}.Append(nil), RequestTooLarge},
		"large response":    {wire.Script{ResponseSize: 1 << 31}.Append(nil), ResponseTooLarge},
		"one byte more":     {append(opening(sound), 0), ExcessData},
		"after a hello":     {append(wire.Script{Kind: wire.Hello}.Append(nil), 0), ExcessData},
		"after the server":  {append(opening(wire.Script{CloseBy: wire.Server, Exchanges: 1}), 1, 2, 3), ExcessData},
		"a second request":  {append(opening(sound), opening(sound)...), ExcessData},
		"listen to nothing": {wire.Script{Kind: wire.Listen, Exchanges: 1, Beat: wire.BeatUnit}.Append(nil), ImpossibleScript},
		"a lot of nonsense": {make([]byte, 300<<10), NotAHeader},
	}
}

func TestWrongInputIsClosedAndCounted(t *testing.T) {
	for name, tt := range wrongs() {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{})
			c := dial(t, s)
			c.Write(tt.in) // may meet the server's close
			if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
				t.Errorf("not closed: %v", err)
			}
			awaitClosed(t, s, tt.why, 1)
			serves(t, s)
		})
	}
}

// serves plays one script that must succeed.
func serves(t testing.TB, s *Server) {
	t.Helper()
	c := dial(t, s)
	write(t, c, opening(wire.Script{RequestSize: 1, ResponseSize: 9, Exchanges: 1, CloseBy: wire.Server}))
	expect(t, c, 9)
	expectClose(t, c, wire.FIN)
}

func TestExcessDataStillGetsTheResponse(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, append(opening(wire.Script{RequestSize: 1, ResponseSize: 9, Exchanges: 1}), 0))
	expect(t, c, 9)
	expectClose(t, c, wire.FIN)
	awaitClosed(t, s, ExcessData, 1)
}

func TestWaitsThatAreTooLong(t *testing.T) {
	script := wire.Script{RequestSize: 5, ResponseSize: 1}
	for _, tt := range []struct {
		name string
		send []byte
		why  Reason
	}{
		{"nothing", nil, HeaderTimeout},
		{"half a header", []byte("tb\x01"), HeaderTimeout},
		{"header without request", script.Append(nil), RequestTimeout},
		{"half a request", opening(script)[:18], RequestTimeout},
		{"half of the second request", append(opening(script), 0), RequestTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const timeout = 50 * time.Millisecond
			s := start(t, Config{HeaderTimeout: timeout})
			began := time.Now()
			c := dial(t, s)
			write(t, c, tt.send)
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("not closed: %v", err)
			}
			if d := time.Since(began); d < timeout {
				t.Errorf("closed after %v, before the time was over", d)
			}
			awaitClosed(t, s, tt.why, 1)
		})
	}
}

// One byte at a time, and each in time, does not keep a connection open.
func TestSlowHeader(t *testing.T) {
	s := start(t, Config{HeaderTimeout: 50 * time.Millisecond})
	c := dial(t, s)
	b := wire.Script{Exchanges: 1}.Append(nil)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		io.Copy(io.Discard, c)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range b {
		select {
		case <-closed:
			awaitClosed(t, s, HeaderTimeout, 1)
			return
		case <-tick.C:
			c.Write(b[i : i+1])
		}
	}
	t.Error("a header of 320 ms was waited for")
}

// Between exchanges a connection may sleep: that is what heartbeats are.
func TestIdleConnectionsHaveNoTimeout(t *testing.T) {
	s := start(t, Config{HeaderTimeout: 100 * time.Millisecond, Loops: 1})
	held := dial(t, s)
	write(t, held, opening(wire.Script{RequestSize: 5, ResponseSize: 1, Exchanges: 2}))
	expect(t, held, 1)
	// Three that came later have timed out: the first has been spared, not overlooked.
	for _, late := range []net.Conn{dial(t, s), dial(t, s), dial(t, s)} {
		if _, err := io.Copy(io.Discard, late); err != nil {
			t.Fatal(err)
		}
	}
	write(t, held, make([]byte, 5))
	expect(t, held, 1)
	hangUp(t, held, wire.FIN)
	await(t, func() (bool, string) {
		closed := s.Stats().Closed
		return closed[Completed.String()] == 1 && closed[HeaderTimeout.String()] == 3, "not counted so"
	})
}

func TestNoTimeout(t *testing.T) {
	s := start(t, Config{HeaderTimeout: -1})
	c := dial(t, s)
	write(t, c, []byte("tb"))
	write(t, c, opening(wire.Script{ResponseSize: 1, Exchanges: 1})[2:])
	expect(t, c, 1)
	hangUp(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
}

func TestPeersThatLeaveEarly(t *testing.T) {
	s := start(t, Config{})
	for range 20 {
		for _, how := range []wire.How{wire.FIN, wire.RST} {
			hangUp(t, dial(t, s), how)
			c := dial(t, s)
			write(t, c, []byte("tb"))
			hangUp(t, c, how)
		}
	}
	await(t, func() (bool, string) {
		stats := s.Stats()
		return stats.Closed[Unused.String()] == 40 && stats.Closed[PeerClosedEarly.String()] == 20 &&
			stats.Closed[PeerReset.String()] == 20, fmt.Sprintf("%d accepted, %v", stats.Accepted, nonzero(stats.Closed))
	})
	serves(t, s)
}

func FuzzStream(f *testing.F) {
	for _, tt := range wrongs() {
		f.Add(tt.in[:min(len(tt.in), 64)], uint16(0x8421), true)
	}
	f.Add(opening(wire.Script{RequestSize: 3, ResponseSize: 9, Exchanges: 2, CloseBy: wire.Both, CloseHow: wire.RST}), uint16(5), true)
	f.Add(opening(wire.Script{RequestSize: 3, ResponseSize: 100000, Exchanges: 9, CloseBy: wire.Server}), uint16(3), false)
	s, err := Start(Config{Addrs: loopback(1), Loops: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Stop(context.Background()) })
	f.Fuzz(func(t *testing.T, stream []byte, cuts uint16, reset bool) {
		c := dial(t, s)
		for i := 0; len(stream) > 0; i++ {
			n := len(stream)
			if cuts>>(i%16)&1 == 1 {
				n = 1 + i%n
			}
			if _, err := c.Write(stream[:n]); err != nil {
				break // closed by the server, which is its right
			}
			stream = stream[n:]
		}
		if reset {
			c.SetLinger(0)
		}
		c.Close()
		serves(t, s)
		await(t, func() (bool, string) { return s.Stats().Open == 0, "a connection stays open" })
		balanced(t, s.Stats())
	})
}

func TestCountsBalanceWhileEverythingHappens(t *testing.T) {
	s := start(t, Config{HeaderTimeout: 30 * time.Millisecond})
	corpus := wrongs()
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Microsecond): // it leaves a processor to the others
				balanced(t, s.Stats())
			}
		}
	}()
	var dialled uint64
	for range 100 {
		for _, tt := range corpus {
			c, err := net.Dial("tcp", s.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			dialled++
			c.Write(tt.in)
			if dialled%3 == 0 {
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}
	}
	await(t, func() (bool, string) {
		stats := s.Stats()
		return stats.Open == 0 && stats.Accepted == dialled, "not all of them ended"
	})
	close(done)
	<-watched
}
