package server

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/values"
	"tcpbench/internal/wire"
)

// scripts/hostile sends the clients of this file against a server of its own.
var (
	hostileTarget = flag.String("hostile.target", "", "only load this `HOST:PORT` by hostile clients")
	hostileTime   = flag.Duration("hostile.time", 2*time.Second, "for so long")
)

const (
	hostileClients = 200
	// hostileSources are the addresses that they share, of loopback.
	hostileSources = 4
)

// hostile is one client that does the server no good.
type hostile struct {
	net    context.Context
	target string
	source net.IP
	random *rand.Rand
	// pause is the mean time between two of its misdeeds.
	pause time.Duration
	done  *atomic.Uint64
}

// misdeeds are all that it knows. Each has a connection, and closes it in its own way.
var misdeeds = []func(h *hostile, c *net.TCPConn){
	func(h *hostile, c *net.TCPConn) { h.linger(3 * time.Second) },
	func(h *hostile, c *net.TCPConn) { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); h.read(c) },
	func(h *hostile, c *net.TCPConn) { // a header that trickles
		for _, b := range h.script().Append(nil)[:15] {
			c.Write([]byte{b})
			h.linger(200 * time.Millisecond)
		}
	},
	func(h *hostile, c *net.TCPConn) { // a terabyte
		c.Write(opening(wire.Script{RequestSize: 1, ResponseSize: values.MaxMessage, Exchanges: 65535, Refusals: h.flip()}))
		c.Write(make([]byte, 65534))
		h.read(c)
	},
	func(h *hostile, c *net.TCPConn) { // much, and it reads nothing
		c.Write(opening(wire.Script{RequestSize: 1, ResponseSize: 1 << 20, Refusals: h.flip()}))
		c.Write(make([]byte, h.random.IntN(5000)))
		h.linger(4 * time.Second)
	},
	func(h *hostile, c *net.TCPConn) { // 16 MiB every 10 ms
		c.Write(opening(wire.Script{Kind: wire.Ping, RequestSize: 1, ResponseSize: values.MaxMessage, Beat: wire.BeatUnit, Exchanges: 65535}))
		if h.flip() {
			h.read(c)
		}
		h.linger(time.Second)
	},
	func(h *hostile, c *net.TCPConn) { // never to be closed
		c.Write(opening(wire.Script{RequestSize: 1, ResponseSize: 1, Exchanges: 1, CloseBy: wire.Never}))
		c.CloseWrite()
		h.linger(time.Second)
	},
	func(h *hostile, c *net.TCPConn) { // hello, and no goodbye
		c.Write(wire.Script{Kind: wire.Hello}.Append(nil))
		h.linger(4 * time.Second)
	},
	func(h *hostile, c *net.TCPConn) { // a request that never ends
		c.Write(wire.Script{RequestSize: values.MaxMessage, Exchanges: 1}.Append(nil))
		for range h.random.IntN(50) {
			c.Write(make([]byte, 1+h.random.IntN(1000)))
			h.linger(100 * time.Millisecond)
		}
	},
	func(h *hostile, c *net.TCPConn) { // a RST into what waits for its own RST
		c.Write(opening(wire.Script{ResponseSize: 300 << 10, Exchanges: 1, CloseBy: wire.Server, CloseHow: wire.RST}))
		h.linger(50 * time.Millisecond)
		c.SetLinger(0)
	},
	func(h *hostile, c *net.TCPConn) { // any script, and any bytes for it
		c.Write(h.script().Append(nil))
		c.Write(make([]byte, h.random.IntN(20000)))
		if h.flip() {
			c.CloseWrite()
		}
		h.linger(time.Second)
	},
	func(h *hostile, c *net.TCPConn) { // held for ever, and more of them
		for range h.random.IntN(20) {
			if more, err := h.dial(); err == nil {
				defer more.Close()
				more.Write(opening(wire.Script{RequestSize: 1, ResponseSize: 1}))
			}
		}
		h.linger(4 * time.Second)
	},
}

func (h *hostile) flip() bool { return h.random.IntN(2) == 0 }

// linger does nothing for up to d.
func (h *hostile) linger(d time.Duration) {
	select {
	case <-h.net.Done():
	case <-time.After(time.Duration(h.random.Int64N(int64(d)))):
	}
}

func (h *hostile) read(c *net.TCPConn) { io.CopyN(io.Discard, c, h.random.Int64N(4<<20)) }

func (h *hostile) script() wire.Script {
	return wire.Script{
		Kind: wire.Kind(h.random.IntN(6)), CloseBy: wire.Closer(h.random.IntN(4)), CloseHow: wire.How(h.random.IntN(3)),
		RequestSize: uint32(1) << h.random.IntN(25), ResponseSize: uint32(1) << h.random.IntN(25),
		Exchanges: uint16(h.random.IntN(1 << 16)), Beat: time.Duration(h.random.IntN(3)) * wire.BeatUnit, Refusals: h.flip(),
	}
}

func (h *hostile) dial() (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: h.source}, Timeout: time.Second}
	c, err := d.DialContext(h.net, "tcp", h.target)
	if err != nil {
		return nil, err
	}
	// Whatever it does ends with it.
	context.AfterFunc(h.net, func() { c.SetDeadline(time.Unix(1, 0)) })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c.(*net.TCPConn), nil
}

func (h *hostile) live() {
	for h.net.Err() == nil {
		if c, err := h.dial(); err == nil {
			misdeeds[h.random.IntN(len(misdeeds))](h, c)
			c.Close()
			h.done.Add(1)
		}
		h.linger(2 * h.pause)
	}
}

// attack sends all of them until ctx ends, and returns the number of their misdeeds.
func attack(ctx context.Context, target string, seed uint64) uint64 {
	var group sync.WaitGroup
	var done atomic.Uint64
	for i := range hostileClients {
		h := &hostile{
			net: ctx, target: target, source: net.IPv4(127, 66, 0, byte(1+i%hostileSources)), done: &done,
			random: rand.New(rand.NewPCG(seed, uint64(i))), pause: 50 * time.Millisecond,
		}
		group.Go(h.live)
	}
	group.Wait()
	return done.Load()
}

// Two hundred hostile clients, and a server that has bounds: it serves others all the time,
// takes no more descriptors and memory than they allow, and has nothing left when they go.
func TestHostileClients(t *testing.T) {
	seed := rand.Uint64()
	ctx, cancel := context.WithTimeout(t.Context(), *hostileTime)
	defer cancel()
	if *hostileTarget != "" {
		fmt.Printf("%d misdeeds\n", attack(ctx, *hostileTarget, seed))
		return
	}
	t.Logf("seed %d", seed)
	const most = 30
	s := start(t, Config{
		HeaderTimeout: 500 * time.Millisecond,
		Bounds:        Bounds{Connections: most, Rate: 32 << 20, Bytes: 64 << 20, Life: time.Second},
		Options:       Options{UserTimeout: time.Second},
	})
	before := descriptors()
	over := make(chan uint64)
	go func() { over <- attack(ctx, s.Addrs()[0].String(), seed) }()
	var highest, rounds uint64
	for ctx.Err() == nil {
		c := dial(t, s)
		write(t, c, opening(wire.Script{RequestSize: 1, ResponseSize: 9, Exchanges: 1, CloseBy: wire.Server}))
		expect(t, c, 9)
		expectClose(t, c, wire.FIN)
		c.Close()
		rounds++
		open := s.Stats().Open
		highest = max(highest, open)
		// Ours, and in each loop one that has been accepted and not yet been looked at.
		if limit := uint64(hostileSources*(most+refusedRoom) + 1 + len(s.engines)); open > limit {
			t.Fatalf("%d connections are open, the bounds allow %d", open, limit)
		}
	}
	n := <-over
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d misdeeds, at most %d connections open, %d honest rounds, %d MiB of memory with the clients', %v",
		n, highest, rounds, usage.Maxrss>>10, nonzero(s.Stats().Closed))
	if n < hostileClients || highest < most {
		t.Errorf("that is no attack")
	}
	if usage.Maxrss > 512<<10 && !alone.UnderRace() {
		t.Errorf("%d MiB of memory", usage.Maxrss>>10)
	}
	await(t, func() (bool, string) {
		open, now := s.Stats().Open, descriptors()
		return open == 0 && now <= before, fmt.Sprintf("%d open; %d descriptors, %d before", open, now, before)
	})
	serves(t, s)
}
