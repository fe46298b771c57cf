package alone

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/pcap"
	"tcpbench/internal/segment"
)

// Segments counts the IPv4 segments on lo that have a flag, from now on. No counter of the kernel
// counts FINs. It needs CAP_NET_RAW, which a namespace of the test's own gives.
func Segments(t testing.TB, flag segment.Flags) (count func() uint64) {
	t.Helper()
	const ip = 14 // where the IP header begins in a frame of lo
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: ip - 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IP, Jf: 6},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ip + 9}, // the protocol
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 4},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: ip}, // the length of the IP header
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: ip + 13},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: uint32(flag), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	f, err := pcap.Open("lo", func(fd int) error {
		// On lo the receiver of a frame is its sender: it is counted once.
		err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
		if err == nil {
			err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
		}
		return os.NewSyscallError("setsockopt", err)
	})
	must(t, "count segments", err)
	t.Cleanup(func() { f.Close() })
	conn, err := f.SyscallConn()
	must(t, "count segments", err)
	var total uint64
	return func() uint64 {
		t.Helper()
		must(t, "count segments", conn.Control(func(fd uintptr) {
			// The statistics count what passed the filter, though nobody reads it and the socket's
			// memory is full. Reading them sets them to zero.
			var s *unix.TpacketStats
			if s, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				total += uint64(s.Packets)
			}
		}))
		must(t, "read the statistics of a packet socket", err)
		return total
	}
}
