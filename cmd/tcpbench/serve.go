package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/internal/values"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

// drainPatience is how long connections under way may go on when serve is told to end.
const drainPatience = 2 * time.Second

// serveOptions are the flags of serve.
type serveOptions struct {
	listen string
	ports  []uint16
	quiet  bool
	server server.Config
}

func newServe() *cobra.Command {
	o := &serveOptions{server: server.Default()}
	o.server.Bounds, o.server.Room = defaultBounds(), refusalRoom
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run the server alone, for tcpbench clients elsewhere",
		GroupID: "main",
		Long: `Run the server alone, for tcpbench clients elsewhere.

It plays the script that the header of each connection asks for (docs/protocol.md), so it
needs no configuration to suit a workload. With --echo it sends back whatever arrives,
for clients that know no header. It runs until Ctrl-C or SIGTERM; then it takes no new
connections, gives those that are open ` + drainPatience.String() + ` to end, and prints what it counted on stderr.

Whoever reaches the address may order bytes and hold connections, so what one source
address and one connection may order is bounded; the --max- flags say how, and raise it.
A source is an IPv4 address or an IPv6 /64. Who orders more is refused, told why, and
counted.`,
		Example: `  tcpbench serve --listen :9000
  tcpbench serve --listen 10.0.0.1:9000 --ports 9000-9063 --backlog 128
  tcpbench serve --listen 127.0.0.1:7000 --echo
  tcpbench serve --listen :9000 --max-rate 10G --max-life 24h`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.execute(c) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "`HOST:PORT` to listen on; port 0 takes a free one, an empty host every address")
	f.Var(values.New(&o.ports, "", "PORTS", values.Ports), "ports", "listen on these ports of the host instead, as in 9000-9063")
	for _, flag := range o.server.Flags() {
		v := f.VarPF(flag.Value, flag.Name, "", flag.Help)
		if flag.Value.Type() == "bool" {
			v.NoOptDefVal = "true"
		}
	}
	f.Lookup("max-connections").DefValue = "0" // another machine has others, and the text says how many
	f.Lookup("user-timeout").Usage += " (default " + unreadPatience.String() + ", none with --keepalive and --mptcp)"
	f.BoolVar(&o.quiet, "quiet", false, "no summary at the end")
	return c
}

func (o *serveOptions) execute(c *cobra.Command) error {
	cfg := o.server
	var err error
	if cfg.Addrs, err = o.addresses(c.Context(), c.Flags().Changed("ports")); err != nil {
		return err
	}
	if !c.Flags().Changed("user-timeout") && cfg.KeepAlive == 0 && !cfg.MPTCP { // MPTCP sockets have no such option
		cfg.UserTimeout = unreadPatience
	}
	ctx, release := underSignals(nil)
	defer release()
	if err := cfg.Options.Check(); err != nil {
		return usage("--%w", err)
	}
	s, err := server.Start(cfg)
	if err != nil {
		return exit{exitFailed, err}
	}
	for _, a := range s.Addrs() {
		fmt.Fprintf(c.ErrOrStderr(), "listening on %s\n", a)
	}
	if slices.ContainsFunc(s.Addrs(), func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() }) {
		fmt.Fprintln(c.ErrOrStderr(), allowance(&cfg))
	}
	select {
	case <-s.Done():
		return exit{exitFailed, fmt.Errorf("the server ended by itself: %w", s.Err())}
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if open := s.Drain(ending); open > 0 && !o.quiet {
		fmt.Fprintf(c.ErrOrStderr(), "%d connections were still open after %v, and are closed now\n", open, drainPatience)
	}
	closing, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	if err := s.Stop(closing); err != nil {
		return exit{exitFailed, err}
	}
	if !o.quiet {
		summarize(c.ErrOrStderr(), s.Stats())
	}
	return nil
}

// summarize prints what a server counted, reason by reason.
func summarize(w io.Writer, stats server.Stats) {
	fmt.Fprintf(w, "accepted %d, exchanges %d, read %d B, written %d B\n",
		stats.Accepted, stats.Exchanges, stats.BytesRead, stats.BytesWritten)
	if n := stats.Unaccepted; n > 0 {
		fmt.Fprintf(w, "accept() failed %d times: descriptors or memory had run out (ulimit -n, fs.file-max)\n", n)
	}
	for _, reason := range slices.Sorted(maps.Keys(stats.Closed)) {
		if n := stats.Closed[reason]; n > 0 {
			fmt.Fprintf(w, "  %-20s %d\n", reason, n)
		}
	}
}

// addresses are what to listen on.
func (o *serveOptions) addresses(ctx context.Context, several bool) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil, usage("--listen %q: want HOST:PORT, :PORT or [IPv6]:PORT", o.listen)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, usage("--listen %q: want a port from 0 to 65535 after the colon", o.listen)
	}
	ip := netip.IPv6Unspecified() // of both families, as far as the kernel has them
	if host != "" {
		resolved, err := stage.Resolve(ctx, net.JoinHostPort(host, "1"), "ip")
		if err != nil {
			return nil, usage("--listen: %w", err)
		}
		ip = resolved[0].Addr()
	}
	ports := o.ports
	if !several {
		ports = []uint16{uint16(port)}
	}
	var addrs []netip.AddrPort
	for _, p := range ports {
		addrs = append(addrs, netip.AddrPortFrom(ip, p))
	}
	return addrs, nil
}
