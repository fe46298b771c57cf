package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tcpbench/internal/values"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

// unreadPatience is how long a response may lie unread: with the rate of a source it bounds
// the memory that one can take up.
const unreadPatience = 30 * time.Second

// refusalRoom is the number of descriptors for connections that wait to be told that they
// are refused.
const refusalRoom = 256

// defaultBounds are what others may order from serve unless flags say otherwise. One
// source leaves an eighth of the descriptors to the others.
func defaultBounds() server.Bounds {
	return server.Bounds{
		Connections: max(1, stage.MostConnections()/8*7),
		Rate:        128 << 20,
		Bytes:       1 << 30,
		Life:        time.Hour,
	}
}

// bound adds the flags of the bounds.
func (o *serveOptions) bound(f *pflag.FlagSet) {
	b := &o.bounds
	f.Var(values.Whole(&b.Connections, 1, math.MaxInt32), "max-connections", "connections of one source address at a time (default 7/8 of the descriptors)")
	f.Lookup("max-connections").DefValue = "0" // another machine has others, and the text says how many
	f.Var(values.New(&b.Rate, size(b.Rate), "BYTES", values.Amount), "max-rate", "bytes of responses a second that one source address may order")
	f.Var(values.New(&b.Bytes, size(b.Bytes), "BYTES", values.Amount), "max-bytes", "bytes of responses that one connection may order in all")
	f.Var(values.Time(&b.Life, time.Millisecond, values.Year, 1), "max-life", "how long one connection may stay, open or forgotten")
}

// allowance says what others may order from a server that they can reach.
func (o *serveOptions) allowance(unread time.Duration) string {
	b := &o.bounds
	if o.echo {
		return fmt.Sprintf("each source address may hold %d connections, for %v each (--max-…)", b.Connections, b.Life)
	}
	read := "for as long as it likes"
	if unread > 0 {
		read = "for " + unread.String()
	}
	return fmt.Sprintf("each source address may hold %d connections and order %sB/s, leaving them unread %s; each connection may order %sB and stay for %v (--max-…)",
		b.Connections, binary(b.Rate), read, binary(b.Bytes), b.Life)
}

// size writes a number of bytes as values.Amount reads it, without loss.
func size(n uint64) string {
	unit := 0
	for ; n > 0 && n%1024 == 0 && unit < 4; unit++ {
		n /= 1024
	}
	return fmt.Sprint(n) + strings.TrimSpace(" kMGT"[unit:unit+1])
}

// binary writes a number of bytes for people: 128 Mi.
func binary(n uint64) string {
	text := size(n)
	if last := len(text) - 1; text[last] > '9' {
		return text[:last] + " " + strings.ToUpper(text[last:]) + "i"
	}
	return text + " "
}
