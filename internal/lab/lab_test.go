package lab

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/machine"
	"tcpbench/internal/namespace"
)

// The hosts of a lab have a table of TCP sockets of their own, and the settings that follow from
// its size are those of a namespace without one.
func TestHostsHaveTablesOfTheirOwn(t *testing.T) {
	l := newLab(t, Link{})
	plain, err := namespace.New("plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	other := &Host{Name: "plain", Network: plain}
	defer plain.Close()
	read := func(h *Host, name string) (value string) {
		err := h.Do(func() error {
			text, err := os.ReadFile(machine.File(name))
			value = strings.TrimSpace(string(text))
			return err
		})
		if err != nil {
			alone.Needed(t, err.Error())
		}
		return value
	}
	for _, h := range []*Host{l.Client, l.Server} {
		if size := read(h, "net.ipv4.tcp_ehash_entries"); strings.HasPrefix(size, "-") {
			t.Errorf("the %s shares a table of %s", h.Name, size)
		}
		for _, name := range []string{"net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_child_ehash_entries"} {
			if got, want := read(h, name), read(other, name); got != want {
				t.Errorf("%s of the %s is %s, else it is %s", name, h.Name, got, want)
			}
		}
	}
}

func listenIn(t *testing.T, h *Host, address string) net.Listener {
	t.Helper()
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dialFrom connects within a host. The Go runtime may dial on another thread where a
// name is looked up or two families race: here is neither.
func dialFrom(h *Host, source, target string) error { return dial(h, source, target, 20*time.Second) }

// dialInVain does so where nobody is to answer.
func dialInVain(h *Host, target string) error { return dial(h, "", target, 300*time.Millisecond) }

func dial(h *Host, source, target string, most time.Duration) error {
	return h.Do(func() error {
		fd, err := unix.Socket(family(target), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, new(unix.NsecToTimeval(int64(most))))
		if source != "" {
			if err := unix.Bind(fd, sockaddr(source)); err != nil {
				return err
			}
		}
		return unix.Connect(fd, sockaddr(target))
	})
}

func family(address string) int {
	if strings.HasPrefix(address, "[") {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func sockaddr(address string) unix.Sockaddr {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	if v4 := a.IP.To4(); v4 != nil {
		return &unix.SockaddrInet4{Addr: [4]byte(v4), Port: a.Port}
	}
	return &unix.SockaddrInet6{Addr: [16]byte(a.IP.To16()), Port: a.Port}
}

func TestTheHostsReachEachOtherAndNobodyElse(t *testing.T) {
	t.Parallel()
	l := newLab(t, Link{})
	for _, address := range []string{"198.18.255.1:9000", "[fd00:18::ff:1]:9000"} {
		listenIn(t, l.Server, address)
		if err := dialFrom(l.Client, "", address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	sources := l.Client.Sources
	if len(sources) != 254 || sources[0].String() != "198.18.1.1" || sources[253].String() != "198.18.1.254" {
		t.Errorf("%v", sources)
	}
	for _, s := range sources[:3] {
		if err := dialFrom(l.Client, s.String()+":0", "198.18.255.1:9000"); err != nil {
			t.Errorf("from %s: %v", s, err)
		}
	}
	listenIn(t, l.Client, "198.18.0.1:9001")
	if err := dialFrom(l.Server, "", "198.18.0.1:9001"); err != nil {
		t.Errorf("the other way: %v", err)
	}
	// Answers to a block of addresses vanish: neither a RST nor an error comes back.
	if err := dialInVain(l.Server, "198.19.3.4:80"); !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EAGAIN) {
		t.Errorf("to nobody: %v", err)
	}
	// There is no way out, to this host or beyond.
	for _, address := range []string{"192.0.2.1:80", "10.0.0.1:80", "[2001:db8::1]:80"} {
		if err := dialFrom(l.Client, "", address); !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("%s: %v", address, err)
		}
	}
	// And none in.
	if _, err := net.DialTimeout("tcp", "198.18.255.1:9000", 200*time.Millisecond); err == nil {
		if c, err := net.Interfaces(); err == nil {
			for _, i := range c {
				if strings.HasPrefix(i.Name, "lab-") {
					t.Errorf("the host has a device of the lab: %s", i.Name)
				}
			}
		}
	}
}

// A lab costs milliseconds.
func BenchmarkLab(b *testing.B) {
	for b.Loop() {
		l, err := New(Link{})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// Those who are not root make one as root of a user namespace.
func TestLabWithoutRoot(t *testing.T) {
	if !alone.Process(t, namespace.Users()) {
		return
	}
	l := newLab(t, Link{})
	listenIn(t, l.Server, "198.18.255.1:9000")
	if err := dialFrom(l.Client, "198.18.1.7:0", "198.18.255.1:9000"); err != nil {
		t.Error(err)
	}
	reports, err := machine.Apply(l.Server, &machine.Profile{Settings: []machine.Setting{{Key: "net.ipv4.tcp_tw_reuse", Value: "1"}, {Key: "net.core.somaxconn", Value: "77"}}})
	if err != nil || !reports[0].Fine() || !reports[1].Fine() {
		t.Errorf("%+v, %v", reports, err)
	}
}
