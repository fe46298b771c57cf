package sockdiag

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// Ports is a range of ports, including both ends.
type Ports struct{ Low, High uint16 }

// RangesOf joins ports, in any order, to ranges.
func RangesOf(ports []uint16) []Ports {
	var set [1 << 16]bool
	for _, p := range ports {
		set[p] = true
	}
	var all []Ports
	for p := 0; p < len(set); p++ {
		if !set[p] {
			continue
		}
		low := p
		for p+1 < len(set) && set[p+1] {
			p++
		}
		all = append(all, Ports{uint16(low), uint16(p)})
	}
	return all
}

// PortList writes ports as net.ipv4.ip_local_reserved_ports does: 8080,9000-9009.
func PortList(ports []uint16) string {
	var parts []string
	for _, r := range RangesOf(ports) {
		part := strconv.Itoa(int(r.Low))
		if r.High > r.Low {
			part += "-" + strconv.Itoa(int(r.High))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ",")
}

// The instructions of a sock_diag filter (linux/inet_diag.h, inet_diag_bc_run). Each has four bytes:
// the code, the distance to the next instruction if it holds, and that if it does not. A program that
// ends right after its last instruction takes the socket; one that jumps farther does not.
const (
	bcJump     = 1
	bcSourceGE = 2
	bcSourceLE = 3
	bcDestGE   = 4
	bcDestLE   = 5

	bcSize  = 4          // of an instruction
	bcPort  = 2 * bcSize // of one with a port
	bcBlock = 2*bcPort + bcSize
)

// mostRanges keeps the distances of a filter within 16 bits.
const mostRanges = 1000

// portFilter is a program that takes sockets with a port in one of the ranges at either end.
func portFilter(ranges []Ports) []byte {
	length := 2 * bcBlock * len(ranges)
	var code []byte
	instruction := func(op, yes uint8, no int) {
		code = append(code, op, yes)
		code = binary.NativeEndian.AppendUint16(code, uint16(no))
	}
	port := func(op uint8, p uint16, otherwise int) {
		instruction(op, bcPort, otherwise)
		instruction(0, 0, int(p))
	}
	for i, r := range ranges {
		for _, end := range [][2]uint8{{bcSourceGE, bcSourceLE}, {bcDestGE, bcDestLE}} {
			at := len(code)
			next := bcBlock // to the next block
			if i == len(ranges)-1 && end[0] == bcDestGE {
				next = length - at + bcSize // beyond the end: do not take it
			}
			port(end[0], r.Low, next)
			port(end[1], r.High, next-bcPort)
			instruction(bcJump, bcSize, length-at-2*bcPort)
		}
	}
	return code
}
