package scenarios

import (
	"net/netip"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/server"
)

// Both sides speak Multipath TCP, in each family and however a connection ends. Of a server that
// does not speak it the result says how many connections fell back.
func TestMPTCP(t *testing.T) {
	if err := sysinfo.MPTCP(); err != nil {
		alone.Needed(t, "MPTCP: "+err.Error())
	}
	t.Parallel()
	const load = "--mptcp --count 20 --connections 4 "
	args := []string{"", "--close server --close-how rst", "--close-wait", "--connect-only", "--exchanges 3 --response-size 64k"}
	if alone.IPv6(t) {
		args = append(args, "--ipv6")
	}
	for _, more := range args {
		r := staged(t, Short, load+more)
		if m := r.MPTCP; m == nil || m.Spoken != 20 || m.Fallbacks != 0 || r.Succeeded != 20 || r.Flagged("mptcp-fallback") {
			t.Errorf("%s: %d succeeded, %+v, %v", more, r.Succeeded, m, r.Flags)
		}
	}
	plain, err := server.Start(server.Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Stop(t.Context()) }()
	r := staged(t, Short, load+"--target "+plain.Addrs()[0].String())
	if m := r.MPTCP; m == nil || m.Spoken != 0 || m.Fallbacks != 20 || r.Succeeded != 20 || !r.Flagged("mptcp-fallback") {
		t.Errorf("a plain server: %d succeeded, %+v, %v", r.Succeeded, m, r.Flags)
	}
	if r := staged(t, Short, "--count 5 --connections 2"); r.MPTCP != nil {
		t.Errorf("without --mptcp: %+v", r.MPTCP)
	}
}
