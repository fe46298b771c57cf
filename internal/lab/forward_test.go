package lab

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"

	"tcpbench/internal/pcap"
	"tcpbench/internal/probe"
	"tcpbench/internal/segment"
)

// settled waits until so many frames have come to the link to the server, and until both
// directions are at rest: each frame that came was counted as something.
func settled(t *testing.T, l *Lab, least uint64) (toServer, toClient Carried) {
	t.Helper()
	balanced := func(c *Carried, g *Gate) bool {
		n := c.Sent + c.Lost + c.QueueOverflows + c.Refused + c.Verbs["lose"].Done
		if g != nil {
			n += uint64(g.Held())
		}
		return n == c.Came
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		var err error
		if toServer, toClient, err = l.Carried(); err != nil {
			t.Fatal(err)
		}
		if toServer.Came+toServer.RingOverflows >= least && balanced(&toServer, l.ToServer) && balanced(&toClient, l.ToClient) {
			return toServer, toClient
		}
		if time.Now().After(deadline) {
			t.Fatalf("the counts do not balance: %+v, %+v", toServer, toClient)
		}
	}
}

// A segment that the link loses was seen by the gate's watcher, as lost; and each verb is
// counted: what was held is stepped, released or held still.
func TestVerbsAreSeenAndCounted(t *testing.T) {
	l := newLab(t, Link{Gated: true, ToServer: parsed(t, "drop=fin+ack")})
	listenIn(t, l.Server, "198.18.255.1:9000")
	out, back := watched(l.ToServer), watched(l.ToClient)
	hold := func(s *segment.Segment) Fate {
		if s.Is(segment.SYN | segment.ACK) {
			return Hold
		}
		return Pass
	}
	l.ToClient.Rule(hold)
	connected := make(chan error, 1)
	go func() { connected <- dialFrom(l.Client, "", "198.18.255.1:9000") }() // and close
	if syn := next(t, out); !syn.Is(segment.SYN) || syn.fate != Pass {
		t.Errorf("%+v", syn)
	}
	if answer := next(t, back); answer.fate != Hold {
		t.Errorf("%+v", answer)
	}
	if _, ok, err := l.ToClient.Step(func(s *segment.Segment) bool { return s.Is(segment.SYN | segment.ACK) }); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	for s := next(t, out); ; s = next(t, out) {
		if s.Is(segment.FIN | segment.ACK) {
			if s.fate != Lose {
				t.Errorf("the watcher saw a lost segment as %s", s.fate)
			}
			break
		}
	}
	go func() { connected <- dialInVain(l.Client, "198.18.255.1:9000") }() // its answer is held
	for s := next(t, back); s.fate != Hold; s = next(t, back) {
	}
	l.ToServer.Rule(func(*segment.Segment) Fate { return Lose })
	<-connected
	held := l.ToClient.Held()
	l.ToClient.Release()
	for range held {
		for s := next(t, back); s.fate != Released; s = next(t, back) {
		}
	}
	toServer, toClient := settled(t, l, 1)
	if n := toServer.Verbs["drop"]; n.Done < 1 || n.Asked <= n.Done || toServer.Lost != n.Done {
		t.Errorf("drop %+v of %+v", n, toServer)
	}
	verbs := toClient.Verbs
	if verbs["step"] != (Tally{1, 1}) || verbs["release"].Done < 1 || verbs["hold"].Done != verbs["step"].Done+verbs["release"].Done {
		t.Errorf("%+v", verbs)
	}
}

// A segment that the gate would hold is lost if the link loses it.
func TestWhatIsLostIsNotHeld(t *testing.T) {
	t.Parallel()
	l := newLab(t, Link{Gated: true, ToServer: parsed(t, "drop=syn")})
	out := watched(l.ToServer)
	l.ToServer.Rule(func(*segment.Segment) Fate { return Hold })
	connected := make(chan error, 1)
	go func() { connected <- dialInVain(l.Client, "198.18.255.1:9000") }()
	if syn := next(t, out); !syn.Is(segment.SYN) || syn.fate != Lose || l.ToServer.Held() != 0 {
		t.Errorf("%+v, %d held", syn, l.ToServer.Held())
	}
	l.ToServer.Release()
	<-connected
}

// The same seed loses the same datagrams of a lab, from the first on.
func TestTheSameSeedLosesTheSame(t *testing.T) {
	run := func(how string) []byte {
		l := newLab(t, Link{ToServer: parsed(t, how)})
		return received(t, l, 100)
	}
	first, second, other := run("loss=30%"), run("loss=30%"), run("loss=30%,seed=7")
	if !bytes.Equal(first, second) {
		t.Errorf("came: %v, and with the same seed %v", first, second)
	}
	if bytes.Equal(first, other) {
		t.Errorf("another seed loses the same")
	}
}

// received sends n datagrams over IPv4, and says which of them came.
func received(t *testing.T, l *Lab, n int) (came []byte) {
	t.Helper()
	var in, out *net.UDPConn
	for _, end := range []struct {
		host *Host
		open func() error
	}{
		{l.Server, func() (err error) {
			in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Server.V4, 9)))
			return err
		}},
		{l.Client, func() (err error) {
			out, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Server.V4, 9)))
			return err
		}},
	} {
		if err := end.host.Do(end.open); err != nil {
			t.Fatal(err)
		}
	}
	defer in.Close()
	defer out.Close()
	for i := range n {
		if _, err := out.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	toServer, _ := settled(t, l, uint64(n))
	for b := make([]byte, 1); len(came) < n-int(toServer.Lost); came = append(came, b[0]) {
		in.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := in.Read(b); err != nil {
			t.Fatalf("%d came, and %d are counted as lost: %v", len(came), toServer.Lost, err)
		}
	}
	return came
}

// What comes faster than it is read is counted: the forwarder stands still here.
func TestOverflowsAreCounted(t *testing.T) {
	l := newLab(t, Link{Gated: true})
	l.ToServer.mu.Lock() // where the forwarder waits with its first packet
	const n = slotCount + 1000
	err := l.Client.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range n {
			if err := unix.Sendto(fd, []byte{1}, 0, sockaddr("198.18.255.1:9")); err != nil {
				return err
			}
		}
		return nil
	})
	l.ToServer.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if toServer, _ := settled(t, l, n); toServer.RingOverflows < n-slotCount {
		t.Errorf("%d frames, a ring of %d: %+v", n, slotCount, toServer)
	}
}

// A frame that the link is too narrow for is counted, in a host that sends more than the
// link's MTU.
func TestLongFramesAreCounted(t *testing.T) {
	l := newLab(t, Link{Changes: true})
	if err := l.between.Do(func() error {
		return setMTU(serverDevice, 1000)
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.Client.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, make([]byte, 1200), 0, sockaddr("198.18.255.1:9"))
	}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		toServer, _ := settled(t, l, 1)
		if toServer.Refused == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", toServer)
		}
	}
}

func setMTU(device string, mtu uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	request.SetUint32(mtu)
	return unix.IoctlIfreq(fd, unix.SIOCSIFMTU, request)
}

// All that reshapes frames is off on the devices of a carried link, and on where the kernel
// carries them.
func TestOffloads(t *testing.T) {
	for _, carried := range []bool{true, false} {
		l := newLab(t, Link{Changes: carried})
		if err := l.Client.Do(func() error {
			e, err := ethtool.NewEthtool()
			if err != nil {
				return err
			}
			defer e.Close()
			on, err := offloads(e, clientDevice)
			if carried != (len(on) == 0) {
				t.Errorf("carried %v: %v", carried, on)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Nobody but the hosts' applications puts frames on a carried link: it is as quiet as it is fresh.
func TestACarriedLinkIsQuiet(t *testing.T) {
	t.Parallel()
	l := newLab(t, Link{Changes: true})
	var file bytes.Buffer
	c := pcap.NewCapture(&file)
	end, err := l.Record(c)
	if err != nil {
		t.Fatal(err)
	}
	// Reports of multicast groups would come within a second (RFC 3810, section 9.11).
	time.Sleep(1500 * time.Millisecond)
	if err := errors.Join(end(), c.Flush()); err != nil {
		t.Fatal(err)
	}
	toServer, toClient, err := l.Carried()
	if err != nil || c.Packets != 0 || toServer.Came+toClient.Came != 0 {
		t.Errorf("%v; %d packets captured, %d and %d carried", err, c.Packets, toServer.Came, toClient.Came)
	}
}

// A link that was not made to change says so.
func TestALinkThatIsFixed(t *testing.T) {
	t.Parallel()
	l := newLab(t, Link{})
	if err := l.Impair(&Impairment{Loss: 1}, nil); !errors.Is(err, ErrFixed) {
		t.Error(err)
	}
	l = newLab(t, Link{Changes: true})
	listenIn(t, l.Server, "198.18.255.1:9000")
	for _, loss := range []float64{0, 1, 0} {
		if err := l.Impair(&Impairment{Loss: loss}, nil); err != nil {
			t.Fatal(err)
		}
		call := func() error { return dialFrom(l.Client, "", "198.18.255.1:9000") }
		if loss == 1 {
			call = func() error { return dialInVain(l.Client, "198.18.255.1:9000") }
		}
		if err := call(); (err != nil) != (loss == 1) {
			t.Errorf("loss %v: %v", loss, err)
		}
	}
}

// Without IPv6 there is a lab of IPv4, which says so.
func TestLabWithoutIPv6(t *testing.T) {
	for _, link := range []Link{{}, {Gated: true}} {
		l := unbuilt(link)
		t.Cleanup(func() { l.Close() })
		if err := l.found(); err != nil {
			newLab(t, link) // which knows whether that is an error
		}
		for _, h := range l.hosts() {
			if err := h.Do(func() error {
				err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
				if errors.Is(err, os.ErrNotExist) {
					return nil // there is none anyway
				}
				return err
			}); err != nil {
				t.Skipf("NOT TESTED: %v", err)
			}
		}
		if err := l.build(); err != nil {
			t.Fatal(err)
		}
		if l.Client.V6.IsValid() || l.Server.V6.IsValid() {
			t.Errorf("%v, %v", l.Client.V6, l.Server.V6)
		}
		listenIn(t, l.Server, "198.18.255.1:9000")
		if err := dialFrom(l.Client, "198.18.1.3:0", "198.18.255.1:9000"); err != nil {
			t.Error(err)
		}
	}
}

// A step that is refused can be told from others.
func TestRefusedSteps(t *testing.T) {
	err := probe.Refused(probe.StepRing, unix.ENOMEM)
	var at *probe.Failure
	if !errors.As(err, &at) || at.Step != probe.StepRing || !errors.Is(err, unix.ENOMEM) || probe.Refused(probe.StepRing, nil) != nil {
		t.Errorf("%v", err)
	}
	if _, err := openPort("nonesuch"); !errors.As(err, &at) || at.Step != probe.StepPacket {
		t.Errorf("%v", err)
	}
}
