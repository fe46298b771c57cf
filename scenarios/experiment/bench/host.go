package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel"
	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
)

// ErrNoIPv6 means that the lab's hosts cannot use IPv6, because the kernel has none or it is off.
var ErrNoIPv6 = errors.New("no IPv6 here: leave -6 out, or see net.ipv6.conf.all.disable_ipv6")

// Loopback are the addresses of the two sides on loopback. The client has the one that the kernel
// chooses for a socket that was not bound; no other program is likely to listen at the server's.
var Loopback = [...]netip.Addr{
	Client: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
	Server: netip.AddrFrom4([4]byte{127, 0, 18, 2}),
}

// checkFamily makes sure that both hosts have an address of IPv6 if the experiment needs one.
func (b *Bench) checkFamily() {
	if !b.IPv6 {
		return
	}
	for _, of := range sides {
		b.on(of, "use IPv6 on the "+of.String(), func() error {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				defer unix.Close(fd)
				err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(b.Address(of, 0))))
			}
			if err != nil {
				return fmt.Errorf("%w (%w)", ErrNoIPv6, err)
			}
			return nil
		})
	}
	b.Remark("over IPv6: the client is %s, the server %s", b.Address(Client, 0).Addr(), b.Address(Server, 0).Addr())
}

// Address is that of a side, with a port.
func (b *Bench) Address(of Side, port uint16) netip.AddrPort {
	a := Loopback[of]
	switch {
	case b.Lab != nil && b.IPv6:
		a = b.Host(of).V6
	case b.Lab != nil:
		a = b.Host(of).V4
	}
	return netip.AddrPortFrom(a, port)
}

// Self is the address by which a host calls itself.
func (b *Bench) Self() netip.Addr {
	if b.IPv6 {
		return netip.IPv6Loopback()
	}
	return Loopback[Client]
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

// Host is the host of a side, in a lab.
func (b *Bench) Host(s Side) *lab.Host { return [...]*lab.Host{b.Lab.Client, b.Lab.Server}[s] }

// on calls f in the namespace of a side, or here on loopback. An error ends the experiment.
func (b *Bench) on(s Side, doing string, f func() error) {
	if b.Lab == nil {
		b.Check(f(), doing)
	} else {
		b.Check(b.Host(s).Do(f), doing)
	}
}

// Sysctl writes a setting of a host.
func (b *Bench) Sysctl(of Side, key, value string) {
	b.Act(of, "%s = %s", key, value)
	b.Check(machine.Write(b.Host(of), key, value), "set "+key)
}

// Setting reads a setting of a host into variables.
func (b *Bench) Setting(of Side, key string, into ...any) {
	b.on(of, "read "+key, func() error {
		text, err := os.ReadFile(machine.File(key))
		if err == nil {
			_, err = fmt.Sscan(string(text), into...)
		}
		return err
	})
}

// Somaxconn is the limit of every accept queue of the server's host.
func (b *Bench) Somaxconn() (limit int) {
	b.Setting(Server, "net.core.somaxconn", &limit)
	return limit
}

// Counter reads a counter of a host.
func (b *Bench) Counter(of Side, group, name string) (value int64) {
	b.on(of, "read counters", func() error {
		c, err := kernel.ReadCounters()
		value, _ = c.Value(group, name)
		return err
	})
	return value
}

// Fragments counts the IP fragments that a host has made. The kernel counts those of IPv6 in
// another file.
func (b *Bench) Fragments(of Side) (n int64) {
	if !b.IPv6 {
		return b.Counter(of, "Ip", "FragCreates")
	}
	b.on(of, "read counters", func() error {
		// Only this thread is in the host's namespace, not the process.
		text, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		n, err = snmp6(string(text), "Ip6FragCreates")
		return err
	})
	return n
}

// snmp6 finds a counter in the text of /proc/net/snmp6.
func snmp6(text, name string) (n int64, err error) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("snmp6: no %s", name)
}
