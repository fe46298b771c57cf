package metrics

import (
	"strconv"
	"strings"
)

// portSet is a set of ports.
type portSet [1 << 16]bool

// mark adds or removes the ports of a list such as 8080,9000-9009
// (net.ipv4.ip_local_reserved_ports).
func (s *portSet) mark(list string, in bool) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil {
			continue // the empty list
		}
		for p := from; p <= to; p++ {
			s[p] = in
		}
	}
}

// localRange is net.ipv4.ip_local_port_range, both ends included.
func (h *Host) localRange() (low, high int, ok bool) {
	ends := strings.Fields(h.Sysctls["net.ipv4.ip_local_port_range"])
	if len(ends) != 2 {
		return 0, 0, false
	}
	l, err1 := strconv.ParseUint(ends[0], 10, 16)
	u, err2 := strconv.ParseUint(ends[1], 10, 16)
	return int(l), int(u), err1 == nil && err2 == nil && l <= u
}

// LocalPorts is the number of local ports that connect() can take towards one destination: those of
// net.ipv4.ip_local_port_range that net.ipv4.ip_local_reserved_ports leaves and no socket listens on,
// at any address (__inet_hash_connect). It is zero if the range is unknown.
func (h *Host) LocalPorts() int { return h.LocalPortsWithin(0, 0) }

// LocalPortsWithin is how many of them a socket with the option IP_LOCAL_PORT_RANGE can take. The
// kernel ignores an end outside of the host's range (inet_sk_get_local_port_range).
func (h *Host) LocalPortsWithin(low, high int) (n int) {
	from, to, ok := h.localRange()
	if !ok {
		return 0
	}
	within := func(p int) bool { return from <= p && p <= to }
	free := portSet{}
	lower, upper := from, to
	if within(low) {
		lower = low
	}
	if within(high) {
		upper = high
	}
	for p := lower; p <= upper; p++ {
		free[p] = true
	}
	free.mark(h.Sysctls["net.ipv4.ip_local_reserved_ports"], false)
	free.mark(h.Listening, false)
	for _, is := range free {
		if is {
			n++
		}
	}
	return n
}

// firstServerPort is the lowest port that a server chooses: lower ones belong to well-known services.
const firstServerPort = 10_000

// ServerPorts are the ports for a server: connect() does not choose from them, they need no privilege
// and are not reserved.
func (h *Host) ServerPorts() (all []uint16) {
	from, to, ok := h.localRange()
	if !ok {
		return nil
	}
	lowest := h.UnprivilegedPort()
	reserved := portSet{}
	reserved.mark(h.Sysctls["net.ipv4.ip_local_reserved_ports"], true)
	for p := max(lowest, firstServerPort); p < len(reserved); p++ {
		if !reserved[p] && (p < from || p > to) {
			all = append(all, uint16(p))
		}
	}
	return all
}

// UnprivilegedPort is the lowest port that bind() allows without CAP_NET_BIND_SERVICE.
func (h *Host) UnprivilegedPort() int {
	p, err := strconv.ParseUint(h.Sysctls["net.ipv4.ip_unprivileged_port_start"], 10, 16)
	if err != nil {
		return 1024 // PROT_SOCK, the default
	}
	return int(p)
}
