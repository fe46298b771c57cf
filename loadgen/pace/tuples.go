package pace

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxSources bounds the list of source addresses. With one target they give more four-tuples than
// tcp_max_tw_buckets can hold in TIME_WAIT.
const maxSources = 1 << 16

// Sources is a list of source addresses in the order given.
type Sources []netip.Addr

// ParseSources reads comma-separated addresses, ranges a-b and CIDR prefixes. Network and broadcast
// address of an IPv4 prefix of /30 or shorter are left out, except on loopback.
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

// Any is the source of a Pair whose source address the kernel chooses.
const Any = -1

// Pair is a source and a target, by their places in their lists: the four-tuples that differ in
// nothing but the source port.
type Pair struct{ Source, Target int }

// Pairs pairs every target with every source of its family. Neighbours in the list differ in both
// as far as possible, so that connections made in turn spread over all targets and all ranges of
// ports. An error means that a target has no source of its family.
func Pairs(targets []netip.AddrPort, sources Sources) ([]Pair, error) {
	var families [2][]Pair
	for family := range families {
		of := func(a netip.Addr) bool { return a.Unmap().Is4() == (family == 0) }
		var from, to []int
		for i, a := range sources {
			if of(a) {
				from = append(from, i)
			}
		}
		for i, t := range targets {
			if of(t.Addr()) {
				to = append(to, i)
			}
		}
		switch {
		case len(sources) == 0:
			from = []int{Any}
		case len(from) == 0 && len(to) > 0:
			return nil, fmt.Errorf("no source address is of the family of target %s: add one to --sources", targets[to[0]])
		}
		families[family] = diagonals(from, to)
	}
	var all []Pair
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				all = append(all, f[i])
			}
		}
	}
	return all, nil
}

// diagonals walks the table of sources and targets along its diagonals, and so meets each pair
// once: after as many steps as both numbers divide, the next diagonal begins.
func diagonals(sources, targets []int) []Pair {
	n := len(sources) * len(targets)
	all := make([]Pair, 0, n)
	for k, shift := 0, 0; k < n; k++ {
		if k > 0 && k%len(sources) == 0 && k%len(targets) == 0 {
			shift++
		}
		all = append(all, Pair{sources[k%len(sources)], targets[(k+shift)%len(targets)]})
	}
	return all
}

// Stripe returns the pairs of the loop at a place: every n-th, or all of them if there are fewer
// than loops.
func Stripe(all []Pair, place, places int) []Pair {
	if len(all) < places {
		return all
	}
	var own []Pair
	for i := place; i < len(all); i += places {
		own = append(own, all[i])
	}
	return own
}

// NextPort returns the port after the last one of the range, round and round. If last is zero it
// is the first port of the loop at a place: loops that share a Pair begin apart.
func NextPort(last int, low, high, place, places int) int {
	switch {
	case last == 0:
		return low + (high-low+1)*place/places
	case last == high:
		return low
	}
	return last + 1
}
