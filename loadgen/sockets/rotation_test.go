package sockets

import (
	"bufio"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// ledger is a server that counts the lines that it gets, and answers each by "ok".
type ledger struct {
	mu    sync.Mutex
	lines map[string]int
}

func (g *ledger) play(c *tcp) error {
	in := bufio.NewScanner(c)
	for in.Scan() {
		g.mu.Lock()
		g.lines[in.Text()]++
		g.mu.Unlock()
		if _, err := c.Write([]byte("ok\n")); err != nil {
			return err
		}
	}
	return closes(c)
}

func newLedger(t *testing.T) (*ledger, *host) {
	g := &ledger{lines: map[string]int{}}
	return g, serve(t, "127.0.0.1:0", g.play)
}

func rotating(t *testing.T, texts ...string) loadgen.Lifecycle {
	l := loadgen.Lifecycle{Response: matching("ok\n"), CloseBy: wire.Client}
	for _, text := range texts {
		one, err := loadgen.ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		l.Rotation = append(l.Rotation, one)
	}
	l.Request = l.Rotation[0].Text
	l.Again = l.Request
	return l
}

// Requests are sent in turn, every number is used once over all loops, and the rest follows from the
// seed.
func TestRotation(t *testing.T) {
	watchLeaks(t)
	run := func(seed uint64) map[string]int {
		g, h := newLedger(t)
		life := rotating(t, `a {{n:4}}\n`, `b {{n:4}} {{rand:6}}\n`)
		life.Exchanges = 3
		got := load(t.Context(), t, loadgen.Config{Targets: to(h.addr), Count: 40, Seed: seed, Lifecycle: life})
		if got.ends() != allSucceeded(40) {
			t.Fatal(got.ends())
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		return maps.Clone(g.lines)
	}
	first := run(1)
	numbers, kinds := map[string]bool{}, map[byte]int{}
	for line, n := range first {
		if n != 1 {
			t.Errorf("%q came %d times", line, n)
		}
		numbers[strings.Fields(line)[1]] = true
		kinds[line[0]]++
	}
	for i := range 120 {
		if !numbers[fmt.Sprintf("%04d", i)] {
			t.Errorf("no request has the number %d", i)
		}
	}
	if kinds['a'] != 60 || kinds['b'] != 60 {
		t.Errorf("%d of a, %d of b, want 60 of each", kinds['a'], kinds['b'])
	}
	if !maps.Equal(first, run(1)) {
		t.Error("the same seed made other requests")
	}
	if maps.Equal(first, run(2)) {
		t.Error("another seed made the same requests")
	}
}

// A request that the kernel takes in parts is one request, even if others are made in between.
func TestRotationInParts(t *testing.T) {
	watchLeaks(t)
	g := &ledger{lines: map[string]int{}}
	h := serve(t, "127.0.0.1:0", func(c *tcp) error {
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err
		}
		g.mu.Lock()
		g.lines[strings.TrimLeft(line, "x")]++
		g.mu.Unlock()
		_, err = c.Write([]byte("ok\n"))
		return err
	})
	life := rotating(t, strings.Repeat("x", 8<<20)+`{{n:4}}\n`)
	got := load(t.Context(), t, loadgen.Config{Targets: to(h.addr), Count: 12, Connections: 6, Loops: 1, Lifecycle: life})
	if got.ends() != allSucceeded(12) {
		t.Fatal(got.ends())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range 12 {
		if n := g.lines[fmt.Sprintf("%04d\n", i)]; n != 1 {
			t.Errorf("request %d came %d times", i, n)
		}
	}
}
