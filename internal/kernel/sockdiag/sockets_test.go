package sockdiag

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"tcpbench/internal/alone"
	"tcpbench/internal/witness"
)

// A socket is found by its addresses, in the state in which others show it, and none where there
// is none.
func TestFind(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	t.Run("IPv4", func(t *testing.T) { findOver(t, "tcp4", "127.0.0.1:0") })
	t.Run("IPv6", func(t *testing.T) { findOver(t, "tcp6", "[::1]:0") })
}

func findOver(t *testing.T, network, address string) {
	l, err := net.Listen(network, address)
	if err != nil {
		alone.Needed(t, err.Error())
	}
	defer l.Close()
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	census, err := OpenCensus()
	if err != nil {
		t.Fatal(err)
	}
	defer census.Close()
	own, peer := netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(c.RemoteAddr().String())
	find := func(local, remote netip.AddrPort) (Socket, bool) {
		t.Helper()
		got, ok, err := census.Find(local, remote)
		if err != nil {
			t.Fatal(err)
		}
		return got, ok
	}
	got, ok := find(own, peer)
	if !ok || got.State != Established || got.Local != own || got.Remote != peer || got.Receive != 6 {
		t.Errorf("%+v %v", got, ok)
	}
	other := netip.AddrPortFrom(own.Addr(), own.Port()+1)
	if got, ok := find(other, peer); ok {
		t.Errorf("nobody has this address: %+v", got)
	}
	// Where no connection is, its listener is not taken for one.
	if got, ok := find(peer, other); ok {
		t.Errorf("nobody has connected: %+v", got)
	}
	one := make([]byte, 6)
	if _, err := c.Read(one); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for deadline := time.Now().Add(alone.Patience); time.Now().Before(deadline); { // the peer's ACK is on its way
		if got, ok = find(own, peer); got.State == FinWait2 {
			break
		}
	}
	if !ok || got.State != FinWait2 {
		t.Errorf("%+v %v", got, ok)
	}
	for by, state := range witness.Of(t, own.Port()) {
		if state != "FIN_WAIT2" {
			t.Errorf("%s shows %q", by, state)
		}
	}
	s.Close()
	got, ok = find(own, peer)
	if !ok || got.State != TimeWait || got.Expires < 50e9 || got.Expires > 70e9 {
		t.Errorf("%+v %v", got, ok)
	}
}
