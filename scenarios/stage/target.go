package stage

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"tcpbench/internal/kernel/sysinfo"
)

// Resolve reads comma-separated targets host:port. All addresses of a name are used, in
// the resolver's order, each once; network is ip for those of both families, ip4 or ip6.
func Resolve(ctx context.Context, text, network string) ([]netip.AddrPort, error) {
	var targets []netip.AddrPort
	seen := map[netip.AddrPort]bool{}
	for part := range strings.SplitSeq(text, ",") {
		host, service, err := net.SplitHostPort(part)
		if err != nil {
			return nil, fmt.Errorf("%q: want HOST:PORT, with an IPv6 address in brackets as in [::1]:9000", part)
		}
		port, err := strconv.ParseUint(service, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q: want a port from 1 to 65535 after the colon", part)
		}
		if host == "" {
			return nil, fmt.Errorf("%q: want a host before the colon, as in 127.0.0.1:%d", part, port)
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
		if err != nil {
			return nil, fmt.Errorf("%q: %w: want a name that resolves%s, or an address", part, err, map[string]string{"ip4": " to IPv4", "ip6": " to IPv6"}[network])
		}
		for _, a := range addrs {
			t := netip.AddrPortFrom(a.Unmap(), uint16(port))
			if !seen[t] {
				seen[t] = true
				targets = append(targets, t)
			}
		}
	}
	return targets, nil
}

// SpareDescriptors is what a child needs beside its connections.
const SpareDescriptors = 64

// MostConnections is the number of connections that a child can have open at a time: the
// hard limit of descriptors, to which it raises its own, less what it needs itself.
func MostConnections() int {
	hard, ok := sysinfo.Descriptors()
	if !ok {
		hard = 1 << 20 // unlimited, or not known: the attempts will tell
	}
	return max(1, hard-SpareDescriptors)
}
