package main

import (
	"fmt"
	"strings"
	"time"

	"tcpbench/internal/values"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

// unreadPatience is how long a response may stay unread: with the rate of a source it bounds
// the memory that one source can occupy.
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

// allowance says what others may order from a server that they can reach.
func allowance(cfg *server.Config) string {
	b := &cfg.Bounds
	if cfg.Echo {
		return fmt.Sprintf("each source address may hold %d connections, for %v each (--max-…)", b.Connections, b.Life)
	}
	read := "for as long as it likes"
	if cfg.UserTimeout > 0 {
		read = "for " + cfg.UserTimeout.String()
	}
	return fmt.Sprintf("each source address may hold %d connections and order %sB/s, leaving them unread %s; each connection may order %sB and stay for %v (--max-…)",
		b.Connections, binary(b.Rate), read, binary(b.Bytes), b.Life)
}

// binary writes a number of bytes for people: 128 Mi.
func binary(n uint64) string {
	text := values.Bytes(n)
	if last := len(text) - 1; text[last] > '9' {
		return text[:last] + " " + strings.ToUpper(text[last:]) + "i"
	}
	return text + " "
}
