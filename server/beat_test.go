package server

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

const testBeat = 50 * time.Millisecond

func listens(missed uint16) wire.Script {
	return wire.Script{Kind: wire.Listen, RequestSize: 4, Exchanges: missed, Beat: testBeat}
}

func pings(missed uint16) wire.Script {
	return wire.Script{Kind: wire.Ping, RequestSize: 4, ResponseSize: 6, Exchanges: missed, Beat: testBeat}
}

func histogram(t *testing.T, s *Server, name string) metrics.Histogram {
	t.Helper()
	all, err := s.Histograms()
	if err != nil {
		t.Fatal(err)
	}
	return all[name]
}

func TestListenerReapsTheSilent(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, opening(listens(3)))
	last := time.Now()
	expectClose(t, c, wire.FIN)
	if d := time.Since(last); d < 3*testBeat {
		t.Errorf("reaped after %v of silence, want %v or more", d, 3*testBeat)
	}
	awaitClosed(t, s, Silent, 1)
	if h := histogram(t, s, metrics.ServerDetect); h.Count != 1 || h.Min < int64(3*testBeat) {
		t.Errorf("noticed %d times, after %v; want once, after %v or more", h.Count, time.Duration(h.Min), 3*testBeat)
	}
}

// Half a ping now and then is a sign of life as well. Others of the same server stay
// silent and are reaped, one after the other, so time enough has passed.
func TestListenerKeepsWhoPings(t *testing.T) {
	s := start(t, Config{})
	alive := dial(t, s)
	write(t, alive, opening(listens(8)))
	pace := time.NewTicker(testBeat)
	defer pace.Stop()
	halves := uint64(0)
	for reaped := uint64(0); reaped < 4; {
		if s.Stats().Open == 1 {
			write(t, dial(t, s), opening(listens(8)))
		}
		<-pace.C
		write(t, alive, make([]byte, 2))
		halves++
		reaped = s.Stats().Closed[Silent.String()]
	}
	hangUp(t, alive, wire.FIN)
	await(t, func() (bool, string) {
		closed := s.Stats().Closed
		return closed[Completed.String()] == 1, fmt.Sprint(nonzero(closed))
	})
	stats := s.Stats()
	if want := stats.Accepted + halves/2; stats.Beats != (metrics.Beats{Answered: want}) {
		t.Errorf("%+v, want %d pings heard", stats.Beats, want)
	}
}

func TestServerPingsAndMeasures(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, opening(pings(3)))
	const rounds = 5
	began := time.Now()
	for range rounds {
		expect(t, c, 6)
		write(t, c, make([]byte, 4))
	}
	// The first comes at once, the second anywhere in the first interval.
	if d := time.Since(began); d < (rounds-2)*testBeat {
		t.Errorf("%d pings in %v, want one each %v", rounds, d, testBeat)
	}
	await(t, func() (bool, string) {
		b := s.Stats().Beats
		return b.Answered == rounds, fmt.Sprintf("%+v, want %d answered", b, rounds)
	})
	if h := histogram(t, s, metrics.Heartbeat); h.Count != rounds || h.Max >= int64(patience) {
		t.Errorf("%d round trips up to %v, want %d", h.Count, time.Duration(h.Max), rounds)
	}
	hangUp(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
	if h := histogram(t, s, metrics.ServerDetect); h.Count != 0 {
		t.Errorf("%d surprises, want none", h.Count)
	}
}

func TestServerReapsWhoDoesNotAnswer(t *testing.T) {
	for _, missed := range []uint16{1, 3} {
		t.Run(fmt.Sprint(missed), func(t *testing.T) {
			s := start(t, Config{})
			c := dial(t, s)
			write(t, c, opening(pings(missed)))
			last := time.Now()
			expect(t, c, 6*int(missed))
			expectClose(t, c, wire.FIN)
			if d := time.Since(last); d < time.Duration(missed-1)*testBeat {
				t.Errorf("reaped after %v", d)
			}
			awaitClosed(t, s, Silent, 1)
			want := metrics.Beats{Sent: uint64(missed), Missed: uint64(missed)}
			if b := s.Stats().Beats; b != want {
				t.Errorf("%+v, want %+v", b, want)
			}
			if h := histogram(t, s, metrics.ServerDetect); h.Count != 1 {
				t.Errorf("noticed %d times", h.Count)
			}
		})
	}
}

// A peer that does not read: pings fill its window and the send buffer, and cost no
// memory here; it is reaped like any other.
func TestPingsThatNobodyReads(t *testing.T) {
	s := start(t, Config{})
	script := pings(4)
	script.ResponseSize = 8 << 20
	c := dial(t, s)
	write(t, c, opening(script))
	awaitClosed(t, s, Silent, 1)
	if b := s.Stats().Beats; b.Sent != 4 || b.Answered != 0 {
		t.Errorf("%+v", b)
	}
}

// A ping that the buffer did not take goes on where it stopped.
func TestPingsLargerThanTheBuffer(t *testing.T) {
	s := start(t, Config{})
	script := pings(40)
	script.ResponseSize = 8 << 20
	c := dial(t, s)
	write(t, c, opening(script))
	for range 2 {
		expect(t, c, 8<<20)
		write(t, c, make([]byte, 4))
	}
	await(t, func() (bool, string) {
		b := s.Stats().Beats
		return b.Answered == 2, fmt.Sprintf("%+v, want 2 answered", b)
	})
}

func TestAnswersWithoutAQuestion(t *testing.T) {
	for name, in := range map[string][]byte{
		"at once": append(opening(pings(3)), 0),
		"later":   opening(pings(3)),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{})
			c := dial(t, s)
			write(t, c, in)
			if name == "later" {
				expect(t, c, 6)
				write(t, c, make([]byte, 5))
			}
			if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
				t.Errorf("not closed: %v", err)
			}
			awaitClosed(t, s, ExcessData, 1)
		})
	}
}

func TestClosesOfHeartbeats(t *testing.T) {
	for _, tt := range []struct {
		script, how wire.How
		kind        wire.Kind
		why         Reason
		surprises   int64
	}{
		{wire.FIN, wire.FIN, wire.Listen, Completed, 0},
		{wire.RST, wire.RST, wire.Listen, Completed, 0},
		{wire.FIN, wire.RST, wire.Listen, PeerReset, 1},
		{wire.RST, wire.FIN, wire.Listen, PeerClosedEarly, 1},
		{wire.FIN, wire.FIN, wire.Ping, Completed, 0},
		{wire.FIN, wire.RST, wire.Ping, Completed, 0}, // a ping was on its way
	} {
		t.Run(fmt.Sprintf("kind %d, %s for %s", tt.kind, tt.how, tt.script), func(t *testing.T) {
			s := start(t, Config{})
			script := pings(100)
			if tt.kind == wire.Listen {
				script = listens(100)
			}
			script.CloseHow = tt.script
			c := dial(t, s)
			write(t, c, opening(script))
			await(t, func() (bool, string) {
				b := s.Stats().Beats
				return b.Sent+b.Answered > 0, "no beat came to be"
			})
			hangUp(t, c, tt.how)
			awaitClosed(t, s, tt.why, 1)
			if h := histogram(t, s, metrics.ServerDetect); h.Count != tt.surprises {
				t.Errorf("%d surprises, want %d", h.Count, tt.surprises)
			}
		})
	}
}

// Many at once, of all three designs, on one server: everybody who answers stays.
func TestManyHeartbeats(t *testing.T) {
	s := start(t, Config{})
	const n = 300
	for i := range n {
		c := dial(t, s)
		if i%2 == 0 {
			write(t, c, opening(listens(1)))
		} else {
			write(t, c, opening(pings(2)))
			go func() {
				for b := make([]byte, 6); ; {
					if _, err := io.ReadFull(c, b); err != nil {
						return
					}
					c.Write(b[:4])
				}
			}()
		}
	}
	await(t, func() (bool, string) {
		stats := s.Stats()
		return stats.Closed[Silent.String()] == n/2, fmt.Sprint(nonzero(stats.Closed))
	})
	await(t, func() (bool, string) {
		b := s.Stats().Beats
		return b.Answered > n/2*10, fmt.Sprintf("%+v", b)
	})
	stats := s.Stats()
	if stats.Open != n/2 {
		t.Errorf("%d open, %v; want %d", stats.Open, nonzero(stats.Closed), n/2)
	}
}

// The peer has closed and the application has forgotten: CLOSE_WAIT here, FIN_WAIT_2
// there, until the server ends.
func TestNeverClosing(t *testing.T) {
	for _, exchanges := range []uint16{0, 2} {
		t.Run(fmt.Sprint(exchanges), func(t *testing.T) {
			s := start(t, Config{})
			c := dial(t, s)
			write(t, c, opening(wire.Script{RequestSize: 2, ResponseSize: 3, Exchanges: exchanges, CloseBy: wire.Never}))
			write(t, c, make([]byte, 2))
			expect(t, c, 6)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			awaitClosed(t, s, Forgotten, 1)
			awaitFinWait2(t, c)
			stop(t, s)
			expectClose(t, c, wire.FIN)
		})
	}
}

// A slow reader plays the same script on a goroutine of its own.
func TestNeverClosingASlowReader(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	const size = 12 << 20
	write(t, c, opening(wire.Script{RequestSize: 2, ResponseSize: size, Exchanges: 1, CloseBy: wire.Never}))
	expect(t, c, size)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	awaitClosed(t, s, Forgotten, 1)
	awaitFinWait2(t, c)
}

// awaitFinWait2 waits for the acknowledgement of c's FIN, which may be a delayed one.
func awaitFinWait2(t *testing.T, c *net.TCPConn) {
	t.Helper()
	await(t, func() (bool, string) {
		state := stateOf(t, c)
		return state == unix.BPF_TCP_FIN_WAIT2, fmt.Sprintf("the client is in state %d, want FIN_WAIT2", state)
	})
}

func stateOf(t *testing.T, c *net.TCPConn) uint8 {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return info.State
}

// However the stream of pings is cut, as many are whole.
func TestCutsOfBeatsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		script := listens(1)
		script.RequestSize = rapid.Uint32Range(1, 40).Draw(t, "request")
		n := rapid.IntRange(0, 300).Draw(t, "payload")
		stream := append(opening(script), make([]byte, n)...)
		var c conn
		if d := play(&c, cut(t, stream)...); d.beats != 1+uint64(n)/uint64(script.RequestSize) || c.state != listening {
			t.Fatalf("%d beats, state %s", d.beats, states[c.state].name)
		}
	})
}
