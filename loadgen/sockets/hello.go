package sockets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"tcpbench/internal/wire"
)

// ErrForeign means that whoever answered does not speak tcpbench's header.
var ErrForeign = errors.New("it does not answer a tcpbench hello")

// ErrRefused means that a tcpbench server answered that it takes no connection now.
var ErrRefused = errors.New("the tcpbench server refuses connections")

// Limits are the largest messages that a tcpbench server takes part in, in bytes, and
// whether it knows wire.Script's Refusals and Pattern.
type Limits struct {
	RequestSize, ResponseSize uint32
	Refusals, Pattern         bool
}

// Hello asks a target who it is. The error is ErrForeign if somebody is there who is no
// tcpbench server, ErrRefused if one is there and has no room, and another if nobody could
// be asked.
func Hello(ctx context.Context, target netip.AddrPort, timeout time.Duration) (Limits, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return Limits{}, fmt.Errorf("hello: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	answer := make([]byte, wire.HeaderSize)
	if _, err = conn.Write(wire.Script{Kind: wire.Hello, Exchanges: wire.Version}.Append(nil)); err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil {
		if context.Cause(ctx) == context.Canceled {
			return Limits{}, fmt.Errorf("hello: %w", err)
		}
		return Limits{}, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if said := wire.ParseRefusal(answer); said != 0 {
		return Limits{}, fmt.Errorf("%w (%s)", ErrRefused, outcomeOfRefusal(said))
	}
	s, err := wire.Parse(answer)
	if err != nil || s.Kind != wire.HelloReply {
		return Limits{}, fmt.Errorf("%w: it sent %q", ErrForeign, answer)
	}
	return Limits{RequestSize: s.RequestSize, ResponseSize: s.ResponseSize, Refusals: s.Exchanges > 1, Pattern: s.Exchanges > 2}, nil
}
