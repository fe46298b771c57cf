package alone

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// The flags of a TCP header, as they stand in its byte 13.
const (
	FIN = 0x01
	RST = 0x04
)

// Segments counts the IPv4 segments on lo that have a flag, from now on. No counter of the
// kernel counts FINs. It needs the privilege to open a packet socket, which a namespace of
// the test's own gives.
func Segments(t testing.TB, flag uint32) (count func() uint64) {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	must(t, "find lo", err)
	// Nothing is received before the socket is bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, "count segments", os.NewSyscallError("socket", err))
	t.Cleanup(func() { unix.Close(fd) })
	// On lo the receiver of a frame is its sender: it is counted once.
	must(t, "ignore what goes out", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9}, // the protocol
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 4},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // the length of the IP header
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 13},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: flag, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	must(t, "attach a filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program))
	must(t, "listen to lo", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: lo.Index}))
	var total uint64
	return func() uint64 {
		t.Helper()
		// The statistics count what passed the filter, though nobody reads it and the socket's
		// memory is full; reading them sets them to zero.
		s, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		must(t, "read the statistics of a packet socket", err)
		total += uint64(s.Packets)
		return total
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
