package metrics

import (
	"strconv"
	"strings"
)

// LocalPorts is the number of local ports that connect() may choose from: those of
// net.ipv4.ip_local_port_range that net.ipv4.ip_local_reserved_ports does not take. It is
// zero where the range is not known.
func (h *Host) LocalPorts() int {
	ends := strings.Fields(h.Sysctls["net.ipv4.ip_local_port_range"])
	if len(ends) != 2 {
		return 0
	}
	low, err1 := strconv.ParseUint(ends[0], 10, 16)
	high, err2 := strconv.ParseUint(ends[1], 10, 16)
	if err1 != nil || err2 != nil || low > high {
		return 0
	}
	n := int(high - low + 1)
	for part := range strings.SplitSeq(h.Sysctls["net.ipv4.ip_local_reserved_ports"], ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil {
			continue // the empty list
		}
		// The kernel prints them in order, and none twice.
		from, to = max(from, low), min(to, high)
		if from <= to {
			n -= int(to - from + 1)
		}
	}
	return n
}
