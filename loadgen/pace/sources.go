package pace

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxSources bounds the table of source addresses. Together with one destination
// they give more four-tuples than tcp_max_tw_buckets can hold in TIME_WAIT.
const maxSources = 1 << 16

// Sources is a list of source addresses in the order given.
type Sources []netip.Addr

// ParseSources reads comma-separated addresses, ranges a-b and CIDR prefixes. In an
// IPv4 prefix of /30 or shorter the network and broadcast addresses are left out,
// unless it is a loopback prefix, where every address is a host.
func ParseSources(text string) (Sources, error) {
	var all Sources
	for part := range strings.SplitSeq(text, ",") {
		first, last, err := parseRange(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		for a := first; ; a = a.Next() {
			if len(all) == maxSources {
				return nil, fmt.Errorf("more than %d source addresses: name fewer, they are enough for every port of every address", maxSources)
			}
			all = append(all, a)
			if a == last {
				break
			}
		}
	}
	return all, nil
}

func parseRange(part string) (first, last netip.Addr, err error) {
	if strings.Contains(part, "/") {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return first, last, fmt.Errorf("%q is no CIDR prefix, as in 10.0.0.0/24", part)
		}
		p = p.Masked()
		if hostBits := p.Addr().BitLen() - p.Bits(); hostBits > 16 {
			return first, last, fmt.Errorf("%s holds more than %d addresses: use a longer prefix", p, maxSources)
		}
		first, last = p.Addr(), lastOf(p)
		if first.Is4() && !first.IsLoopback() && p.Bits() <= 30 {
			first, last = first.Next(), last.Prev()
		}
		return first, last, nil
	}
	from, to, isRange := strings.Cut(part, "-")
	if _, err := netip.ParseAddr(to); err != nil {
		if a, err := netip.ParseAddr(part); err == nil {
			return a, a, nil // the hyphen is part of its zone
		}
	}
	if first, err = netip.ParseAddr(from); err != nil {
		return first, last, fmt.Errorf("%q is no address, range a-b or CIDR prefix", part)
	}
	last = first
	if isRange {
		if last, err = netip.ParseAddr(to); err != nil {
			return first, last, fmt.Errorf("%q: %q is no address", part, to)
		}
		if last.BitLen() != first.BitLen() || last.Less(first) {
			return first, last, fmt.Errorf("%q: a range a-b needs a ≤ b of one family", part)
		}
	}
	return first, last, nil
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(b) // as long as it was
	return last
}
