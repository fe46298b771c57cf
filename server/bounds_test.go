package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/panjf2000/gnet/v2"

	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
)

// knowing is a script of a client that understands refusals.
func knowing(s wire.Script) wire.Script {
	s.Refusals = true
	return s
}

// expectRefusal reads the server's last words after n bytes of responses.
func expectRefusal(t testing.TB, c net.Conn, n int, want wire.Refusal) {
	t.Helper()
	expect(t, c, n)
	words, err := io.ReadAll(c)
	if err != nil && !isReset(err) {
		t.Fatal(err)
	}
	if got := wire.ParseRefusal(words); got != want || len(words) != wire.HeaderSize {
		t.Errorf("last words % x, which are refusal %d, want %d", words, got, want)
	}
}

// dialFrom connects from an address of loopback.
func dialFrom(t testing.TB, s *Server, source string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// What 16 bytes may order is bounded, and who orders more is told why.
func TestOrdersBeyondTheBounds(t *testing.T) {
	const m = 1 << 20
	for _, tt := range []struct {
		name   string
		bounds Bounds
		script wire.Script
		more   int // bytes of further requests
		gets   int // bytes of responses before the refusal
		why    Reason
		words  wire.Refusal
	}{
		{"a terabyte by its header", Bounds{Bytes: 1 << 30}, wire.Script{RequestSize: 1, ResponseSize: 16 * m, Exchanges: 65535}, 65534, 0, BytesExceeded, wire.TooManyBytes},
		{"without an end", Bounds{Bytes: 2 * m}, wire.Script{RequestSize: 1, ResponseSize: m}, 2, 2 * m, BytesExceeded, wire.TooManyBytes},
		{"by pings", Bounds{Bytes: 2 * m}, wire.Script{Kind: wire.Ping, RequestSize: 1, ResponseSize: m, Beat: wire.BeatUnit, Exchanges: 100}, 0, 2 * m, BytesExceeded, wire.TooManyBytes},
		{"too fast", Bounds{Rate: 16 * m}, wire.Script{RequestSize: 1, ResponseSize: 10 * m, Exchanges: 2}, 1, 10 * m, RateExceeded, wire.TooFast},
		{"too fast at once", Bounds{Rate: m}, wire.Script{RequestSize: 1, ResponseSize: m + 1, Exchanges: 1, CloseBy: wire.Server}, 0, 0, RateExceeded, wire.TooFast},
		{"half-closed", Bounds{Rate: m}, wire.Script{RequestSize: 1, ResponseSize: m + 1, Exchanges: 1, CloseHow: wire.HalfClose}, 0, 0, RateExceeded, wire.TooFast},
		{"for too long", Bounds{Life: 100 * time.Millisecond}, wire.Script{RequestSize: 1, ResponseSize: 1}, 0, 1, LifeExceeded, wire.TooLong},
		{"pings for too long", Bounds{Life: 300 * time.Millisecond}, wire.Script{Kind: wire.Listen, RequestSize: 1, Beat: time.Minute, Exchanges: 100}, 0, 0, LifeExceeded, wire.TooLong},
		{"a large response", Bounds{}, wire.Script{RequestSize: 1, ResponseSize: 17 * m, Exchanges: 1}, 0, 0, ResponseTooLarge, wire.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, understands := range []bool{true, false} {
				s := start(t, Config{Bounds: tt.bounds})
				c := dial(t, s)
				script := tt.script
				script.Refusals = understands
				write(t, c, opening(script))
				if tt.script.CloseHow == wire.HalfClose {
					c.CloseWrite()
				}
				expected := make(chan struct{})
				go func() {
					defer close(expected)
					if understands {
						expectRefusal(t, c, tt.gets, tt.words)
					} else {
						expect(t, c, tt.gets)
						if n, err := c.Read(make([]byte, 1)); n > 0 {
							t.Errorf("a client of version 1 got a byte more, %v", err)
						}
					}
				}()
				for range tt.more {
					// One after the other, and the server may have closed.
					if _, err := c.Write([]byte{0}); err != nil {
						break
					}
				}
				<-expected
				awaitClosed(t, s, tt.why, 1)
				if n := s.Stats().BytesWritten; n > uint64(tt.gets)+wire.HeaderSize {
					t.Errorf("%d bytes written", n)
				}
			}
		})
	}
}

// The rate of a source is that of all its connections, and of no other source.
func TestSourcesHaveTheirOwnRate(t *testing.T) {
	const m = 1 << 20
	s := start(t, Config{Bounds: Bounds{Rate: m}})
	order := func(source string, size uint32) *net.TCPConn {
		c := dialFrom(t, s, source)
		write(t, c, opening(knowing(wire.Script{ResponseSize: size, Exchanges: 1, CloseBy: wire.Server})))
		return c
	}
	expect(t, order("127.0.0.2", m*3/4), m*3/4)
	expectRefusal(t, order("127.0.0.2", m*3/4), 0, wire.TooFast)
	expect(t, order("127.0.0.3", m*3/4), m*3/4)
}

func TestSourcesHaveTheirOwnConnections(t *testing.T) {
	const most = 3
	s := start(t, Config{Bounds: Bounds{Connections: most}, HeaderTimeout: time.Minute})
	script := knowing(wire.Script{RequestSize: 1, ResponseSize: 1})
	hold := func(source string) *net.TCPConn {
		c := dialFrom(t, s, source)
		write(t, c, opening(script))
		return c
	}
	var held []*net.TCPConn
	for range most {
		c := hold("127.0.0.2")
		expect(t, c, 1)
		held = append(held, c)
	}
	expectRefusal(t, hold("127.0.0.2"), 0, wire.TooManyConnections)
	expect(t, hold("127.0.0.3"), 1)
	// Those that say nothing wait to be told; there is room for a few, and they take
	// nobody's place.
	var mute []*net.TCPConn
	for range refusedRoom {
		mute = append(mute, dialFrom(t, s, "127.0.0.2"))
	}
	await(t, func() (bool, string) { return s.Stats().Open == most+1+refusedRoom, "not accepted" })
	expectClose(t, dialFrom(t, s, "127.0.0.2"), wire.FIN)
	hangUp(t, held[0], wire.FIN)
	hangUp(t, mute[0], wire.FIN)
	await(t, func() (bool, string) {
		return s.Stats().Closed[ConnectionsExceeded.String()] == 3 && s.Stats().Open == most+refusedRoom-1, fmt.Sprint(nonzero(s.Stats().Closed))
	})
	expect(t, hold("127.0.0.2"), 1)
	stop(t, s)
	if n := s.Stats().Closed[ConnectionsExceeded.String()]; n != 2+refusedRoom {
		t.Errorf("%d refused, want %d", n, 2+refusedRoom)
	}
}

// No way to stay keeps a connection beyond its life: in echo mode, as a slow reader, as
// one whose bytes before a RST are not read, or as one that is never closed.
func TestEveryLifeEnds(t *testing.T) {
	const life = 300 * time.Millisecond
	for _, tt := range []struct {
		name   string
		config Config
		send   []byte
		half   bool
		why    Reason
	}{
		{"echo", Config{Echo: true}, []byte("hello"), false, LifeExceeded},
		{"silent", Config{HeaderTimeout: -1}, nil, false, LifeExceeded},
		{"slow reader", Config{}, opening(knowing(wire.Script{ResponseSize: large, Exchanges: 1})), false, LifeExceeded},
		{"slow reader before a RST", Config{}, opening(wire.Script{ResponseSize: buffered, Exchanges: 1, CloseBy: wire.Server, CloseHow: wire.RST}), false, LifeExceeded},
		{"never", Config{}, opening(wire.Script{RequestSize: 1, Exchanges: 1, CloseBy: wire.Never}), true, Forgotten},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.Bounds.Life = life
			s := start(t, tt.config)
			before := descriptors()
			began := time.Now()
			c := dial(t, s)
			write(t, c, tt.send)
			if tt.half {
				c.CloseWrite()
			}
			awaitClosed(t, s, tt.why, 1)
			await(t, func() (bool, string) {
				now := descriptors() - 1 // ours
				return now <= before, fmt.Sprintf("%d descriptors, %d before", now, before)
			})
			if d := time.Since(began); d < life {
				t.Errorf("ended after %v, want %v", d, life)
			}
			b, err := io.ReadAll(c)
			if err != nil && !isReset(err) {
				t.Error(err)
			}
			if wire.ParseRefusal(b) != 0 {
				t.Error("words in the middle of a response")
			}
		})
	}
}

// A source that has ordered its second's worth may go on after that second, whether it
// has left meanwhile or not; and sources that are gone take no room.
func TestSourcesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSources(&Bounds{Rate: 1000})
		order := func(n uint64, addr byte) bool {
			var c conn
			s.enter(&c, netip.AddrFrom4([4]byte{127, 0, 0, addr}))
			defer s.leave(c.source, false)
			return s.order(c.source, n, 1) == 1
		}
		for i := range 20 {
			if !order(600, 1) || order(401, 1) || !order(400, 1) {
				t.Fatalf("second %d: the rate is not kept", i)
			}
			time.Sleep(500 * time.Millisecond)
			if order(501, 1) || !order(500, 1) {
				t.Fatalf("second %d: the rate is not kept in the middle", i)
			}
			time.Sleep(time.Second)
		}
		for i := range 250 {
			order(10, byte(i))
		}
		order(1000, 1)
		time.Sleep(time.Second)
		order(1, 1)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if len(s.of) != 0 {
			t.Errorf("%d sources are kept", len(s.of))
		}
	})
}

func TestSourceOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1": "fe80::",
	} {
		if got := sourceOf(&net.TCPAddr{IP: net.ParseIP(remote)}); got != netip.MustParseAddr(want) {
			t.Errorf("%s counts for %s, want %s", remote, got, want)
		}
	}
}

// reaper stands for gnet's loop and counts what a sweep closes.
type reaper struct {
	gnet.EventLoop
	closed int
}

func (r *reaper) Close(gnet.Conn) error { r.closed++; return nil }

// A sweep of ever so many waits leaves the loop to traffic again and again.
func TestSweepsAreBounded(t *testing.T) {
	const n = 2*wakesPerSweep + 1
	e := newEngine(&Server{started: time.Now(), cfg: Config{HeaderTimeout: time.Nanosecond}}, 0)
	r := &reaper{}
	loop := gnet.EventLoop(r)
	e.loop.Store(&loop)
	for range n {
		e.beginWait(e.slab.take())
	}
	for last := e.clock() + epoll.Tick; e.clock() <= last; { // timers are rounded up
	}
	for _, want := range []int{wakesPerSweep, 2 * wakesPerSweep, n} {
		e.pulse.due.Store(1 << 62)
		if err := e.Run(context.Background()); err != nil || r.closed != want {
			t.Fatalf("%d closed, want %d, %v", r.closed, want, err)
		}
		if again := e.pulse.due.Load() <= e.clock(); again != (want < n) {
			t.Errorf("after %d of %d another sweep is due: %t", want, n, again)
		}
	}
}
