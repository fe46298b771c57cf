package server

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"tcpbench/internal/values"
)

// Config says how to listen. Its zero value needs only addresses.
type Config struct {
	// Addrs are the addresses to listen on. Port 0 takes a free port, the same for all loops,
	// and if possible one that connect() does not choose.
	Addrs []netip.AddrPort
	// Loops is the number of event loops; 0 = one per CPU.
	Loops int
	// Backlog is the accept queue of each listening socket, of which every loop has its own;
	// 0 = as large as net.core.somaxconn allows.
	Backlog int
	// Linger is SO_LINGER of every connection in seconds; nil = the kernel's default, a close
	// in the background. With 0 every close by the server is a RST, whatever the script says;
	// with more, close() blocks its whole loop until the peer has acknowledged everything or
	// the time is over.
	Linger *int
	// Echo sends everything back until the peer closes; there is no header then.
	Echo bool
	// HeaderTimeout bounds the wait for the first request, from accept() on, and for each
	// further one, from its first byte on; 0 = 10 s, negative = none.
	HeaderTimeout time.Duration
	// MaxRequest and MaxResponse bound the payload of one exchange in bytes; 0 = 16 MiB.
	MaxRequest, MaxResponse uint32
	// Bounds are what clients may order; zero = anything.
	Bounds Bounds
	// Reserve is the number of descriptors that connections leave to the rest of the process;
	// 0 = 32 and two per loop.
	Reserve int
	// Room is the number of descriptors, in addition to half of the reserve, for connections
	// that wait to be told that they are refused. It is at most an eighth of them all.
	Room int
	Options
}

// Options are socket options of the listening sockets. Accepted sockets inherit those that
// concern a connection. The zero value sets none.
type Options struct {
	// KeepAlive turns SO_KEEPALIVE on: the first probe after this time without a segment, the
	// next ones KeepInterval apart, KeepProbes in all. Whole seconds.
	KeepAlive, KeepInterval time.Duration
	KeepProbes              int
	// UserTimeout is TCP_USER_TIMEOUT: how long sent data may stay unacknowledged.
	UserTimeout time.Duration
	// DeferAccept is TCP_DEFER_ACCEPT: a connection enters the accept queue with its first
	// data, or after about this time without. Whole seconds.
	DeferAccept time.Duration
	// FastOpen takes data in the SYN of clients that hold a cookie (RFC 7413).
	FastOpen bool
	// MPTCP listens with Multipath TCP sockets, which also take plain TCP.
	MPTCP bool
}

// Bounds are what a client may order from a server with a header of 16 bytes. The zero value
// of each field bounds nothing, which suits the own server of a run.
type Bounds struct {
	// Connections is how many one source may have at a time: an IPv4 address, or an IPv6 /64,
	// which is what one host has.
	Connections int `json:"connections,omitempty"`
	// Rate is how many bytes of responses per second one source may order. It may order those
	// of one second at once.
	Rate uint64 `json:"rate,omitempty"`
	// Bytes is how many bytes of responses one connection may order in all.
	Bytes uint64 `json:"bytes,omitempty"`
	// Life is how long one connection may stay, including the time after the client's FIN if
	// the script has the server not close.
	Life time.Duration `json:"life,omitempty"`
}

const (
	maxLoops       = 256
	defaultTimeout = 10 * time.Second
	defaultReserve = 32
)

// The largest values that the kernel takes: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL of
// include/net/tcp.h, and an int of milliseconds.
const (
	MaxKeepAlive   = 32767 * time.Second
	MaxUserTimeout = math.MaxInt32 * time.Millisecond
)

// Flag is a setting of a Config as a flag. A new setting takes an entry in Flags, and the code
// that acts on its value.
type Flag struct {
	Name string // of the command that runs a server alone
	Own  string // of a run, for its own server; empty if a run has no such flag
	// Shared marks a flag that is the same in all phases of a scenario.
	Shared bool
	Value  pflag.Value
	Help   string
}

// Default is the configuration of a server alone, without addresses and bounds.
func Default() Config {
	return Config{Loops: runtime.NumCPU(), HeaderTimeout: defaultTimeout, MaxRequest: values.MaxMessage, MaxResponse: values.MaxMessage}
}

// Flags returns flags that set the fields of c, with their bounds. Their defaults are the
// values that the fields have now.
func (c *Config) Flags() []Flag {
	b, o := &c.Bounds, &c.Options
	return []Flag{
		{Name: "loops", Own: "server-loops", Value: values.Whole(&c.Loops, 1, maxLoops), Help: "event loops of the server"},
		{Name: "backlog", Own: "backlog", Value: values.Whole(&c.Backlog, 0, values.MaxBacklog), Help: "accept queue of each listening socket of the server, one per loop (default net.core.somaxconn)"},
		{Name: "linger", Value: linger(&c.Linger), Help: "SO_LINGER in seconds: 0 makes every close a RST (default the kernel's)"},
		{Name: "echo", Value: values.Switch(&c.Echo), Help: "send back what arrives, until the client closes"},
		{Name: "header-timeout", Value: values.Time(&c.HeaderTimeout, time.Millisecond, values.Year, 1), Help: "bound of the wait for a whole request"},
		{Name: "max-request", Value: values.New(&c.MaxRequest, values.Bytes(uint64(c.MaxRequest)), "BYTES", values.Size), Help: "largest payload of a request"},
		{Name: "max-response", Value: values.New(&c.MaxResponse, values.Bytes(uint64(c.MaxResponse)), "BYTES", values.Size), Help: "largest payload of a response"},
		{Name: "max-connections", Value: values.Whole(&b.Connections, 1, math.MaxInt32), Help: "connections of one source address at a time (default 7/8 of the descriptors)"},
		{Name: "max-rate", Value: values.New(&b.Rate, values.Bytes(b.Rate), "BYTES", values.Amount), Help: "bytes of responses per second that one source address may order"},
		{Name: "max-bytes", Value: values.New(&b.Bytes, values.Bytes(b.Bytes), "BYTES", values.Amount), Help: "bytes of responses that one connection may order in all"},
		{Name: "max-life", Value: values.Time(&b.Life, time.Millisecond, values.Year, 1), Help: "how long one connection may stay, open or forgotten"},
		{Name: "keepalive", Own: "server-keepalive", Shared: true, Value: values.Time(&o.KeepAlive, time.Second, MaxKeepAlive, time.Second), Help: "SO_KEEPALIVE of the server's connections: first probe after this time without a segment"},
		{Name: "keepalive-interval", Value: values.Time(&o.KeepInterval, time.Second, MaxKeepAlive, time.Second), Help: "time between two probes"},
		{Name: "keepalive-probes", Value: values.Whole(&o.KeepProbes, 0, 127), Help: "probes without an answer until ETIMEDOUT"},
		{Name: "user-timeout", Own: "server-user-timeout", Shared: true, Value: values.Time(&o.UserTimeout, time.Millisecond, MaxUserTimeout, time.Millisecond), Help: "TCP_USER_TIMEOUT of the server's connections: how long sent data may stay unacknowledged, also by a client that does not read"},
		{Name: "defer-accept", Own: "defer-accept", Shared: true, Value: values.Time(&o.DeferAccept, time.Second, time.Hour, time.Second), Help: "TCP_DEFER_ACCEPT of the server: accept a connection once it has sent data, or after this time"},
		{Name: "fastopen", Value: values.Switch(&o.FastOpen), Help: "TCP_FASTOPEN: take data in the SYN of clients that hold a cookie"},
		{Name: "mptcp", Value: values.Switch(&o.MPTCP), Help: "listen with Multipath TCP sockets, which also take plain TCP"},
	}
}

// linger returns a flag of a number that may be unset.
func linger(to **int) pflag.Value {
	kind := values.Whole(new(int), 0, math.MaxUint16).Type()
	return values.New(to, "", kind, func(text string) (*int, error) {
		n := new(int)
		err := values.Whole(n, 0, math.MaxUint16).Set(text)
		return n, err
	})
}

// fastOpenServer is the bit of net.ipv4.tcp_fastopen without which a listening socket
// ignores data in a SYN, however it is configured.
const fastOpenServer = 2

// Check finds options that mean nothing without another, or that this host has switched off.
// Its errors begin with the name of the option.
func (o *Options) Check() error {
	switch {
	case o.KeepAlive == 0 && (o.KeepInterval > 0 || o.KeepProbes > 0):
		return errors.New("keepalive-interval and keepalive-probes say how keepalive probes go: add keepalive, as in 5s")
	case !o.FastOpen:
		return nil
	}
	const name = "net.ipv4.tcp_fastopen"
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return fmt.Errorf("fastopen: this kernel has no %s: %w", name, err)
	}
	value := strings.TrimSpace(string(text))
	if bits, err := strconv.ParseInt(value, 0, 64); err != nil || bits&fastOpenServer == 0 {
		return fmt.Errorf("fastopen: %s is %s, and servers need its bit %d: sysctl -w %s=3", name, value, fastOpenServer, name)
	}
	return nil
}

// complete checks the configuration and fills in what it leaves open.
func (c *Config) complete() error {
	if len(c.Addrs) == 0 {
		return errors.New("no address to listen on")
	}
	for _, n := range []struct {
		name        string
		value, most int
	}{
		{"loops", c.Loops, maxLoops}, {"backlog", c.Backlog, math.MaxInt32}, {"reserve", c.Reserve, math.MaxInt32}, {"room", c.Room, math.MaxInt32},
		{"linger", *cmp.Or(c.Linger, new(int)), math.MaxUint16}, {"connections of one source", c.Bounds.Connections, math.MaxInt32}, {"life", int(c.Bounds.Life), math.MaxInt},
	} {
		if n.value < 0 || n.value > n.most {
			return fmt.Errorf("%s %d: want 0 to %d", n.name, n.value, n.most)
		}
	}
	if err := c.Options.Check(); err != nil {
		return err
	}
	c.Addrs = slices.Clone(c.Addrs)
	c.Loops = cmp.Or(c.Loops, min(runtime.NumCPU(), maxLoops))
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, defaultTimeout)
	c.MaxRequest = cmp.Or(c.MaxRequest, values.MaxMessage)
	c.MaxResponse = cmp.Or(c.MaxResponse, values.MaxMessage)
	c.Reserve = cmp.Or(c.Reserve, defaultReserve+2*c.Loops)
	return nil
}

// opened is more descriptors than a process has before it listens.
const opened = 16

// Most is the number of connections for which a server of so many loops and addresses has
// descriptors, in a process that may have limit of them, if its Config has no Reserve and no
// Room. It is zero or less if there are none.
func Most(limit, loops, addrs int) int {
	return limit - (defaultReserve + 2*loops) - (opened + addrs + loops*(addrs+2))
}

// ceiling is the first descriptor that a connection may have only to wait for its refusal, and
// the number of those.
func ceiling(cfg *Config, held *claim) (first, room int, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0, os.NewSyscallError("getrlimit", err)
	}
	top := int(min(limit.Cur, math.MaxInt32)) - cfg.Reserve
	// Each loop opens its sockets, an epoll and an eventfd in addition to what is open now.
	base := slices.Max(held.fds) + 1 + cfg.Loops*(len(cfg.Addrs)+2)
	if top <= base {
		return 0, 0, fmt.Errorf("the limit of %d open files leaves none for connections"+
			" (%d for sockets of %d loops and what is open, %d in reserve): raise it (ulimit -n)",
			limit.Cur, base, cfg.Loops, cfg.Reserve)
	}
	room = min(cfg.Room, (top-base)/8)
	return top - room, room + cfg.Reserve/2, nil
}
