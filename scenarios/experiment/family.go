package experiment

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// ErrNoIPv6 tells that the lab's hosts cannot use IPv6: the kernel has none, or it is off.
var ErrNoIPv6 = errors.New("no IPv6 here: leave -6 out, or see net.ipv6.conf.all.disable_ipv6")

// OverIPv6 is the same experiment on connections of IPv6.
func (e *Experiment) OverIPv6() *Experiment {
	other := *e
	other.ipv6 = true
	return &other
}

// Family is the one of its connections, as metrics.Experiment.Family has it.
func (e *Experiment) Family() string {
	if e.ipv6 {
		return metrics.IPv6
	}
	return metrics.IPv4
}

// checkFamily makes sure that both hosts have an address of the family, and notes which.
func (b *bench) checkFamily() {
	if !b.experiment.ipv6 {
		return
	}
	for _, of := range []side{client, server} {
		b.check(b.host(of).Do(func() error {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("%w (%w)", ErrNoIPv6, os.NewSyscallError("socket", err))
			}
			defer unix.Close(fd)
			if err := unix.Bind(fd, sockaddr(b.address(of, 0))); err != nil {
				return fmt.Errorf("%w (%w)", ErrNoIPv6, os.NewSyscallError("bind", err))
			}
			return nil
		}), "use IPv6 on the "+of.String())
	}
	b.remark("over IPv6: the client is %s, the server %s", b.address(client, 0).Addr(), b.address(server, 0).Addr())
}

// domain is the family as socket(2) takes it.
func (b *bench) domain() int {
	if b.experiment.ipv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// addrOf is a host's address of the family.
func (b *bench) addrOf(h *lab.Host) netip.Addr {
	if b.experiment.ipv6 {
		return h.V6
	}
	return h.V4
}

// loopback is the address by which a host calls itself.
func (b *bench) loopback() netip.Addr {
	if b.experiment.ipv6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch a := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// fragments is how many IP fragments a host has made: with IPv6 only its sender may (RFC 8200
// section 5), and the kernel counts these apart.
func (b *bench) fragments(of side) (n int64) {
	if !b.experiment.ipv6 {
		return b.counter(of, "Ip", "FragCreates")
	}
	b.check(b.host(of).Do(func() error {
		// The thread is in the host's namespace, and the process is not.
		text, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		n, err = snmp6(text, "Ip6FragCreates")
		return err
	}), "read counters")
	return n
}

// snmp6 finds a counter in the text of /proc/net/snmp6.
func snmp6(text []byte, name string) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var key string
		var value int64
		if _, err := fmt.Sscan(lines.Text(), &key, &value); err == nil && key == name {
			return value, nil
		}
	}
	return 0, fmt.Errorf("snmp6: no %s", name)
}
