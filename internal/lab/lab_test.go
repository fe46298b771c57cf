package lab

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
)

// The hosts of a lab have a table of TCP sockets of their own, and the settings that follow from
// its size are those of a namespace without one.
func TestHostsHaveTablesOfTheirOwn(t *testing.T) {
	l := newLab(t, Link{})
	plain, err := newNamespace(nil)
	if err != nil {
		t.Fatal(err)
	}
	other := &Host{Name: "plain", namespace: plain}
	defer plain.Close()
	read := func(h *Host, name string) (value string) {
		err := h.Do(func() error {
			text, err := os.ReadFile(file(name))
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

// Every key is accounted for, and the host keeps its own values.
func TestApply(t *testing.T) {
	l := newLab(t, Link{})
	read := func(key string) string {
		text, err := os.ReadFile(file(key))
		if err != nil {
			t.Fatal(err)
		}
		return normal(string(text))
	}
	hosts := read("net.ipv4.tcp_fin_timeout")
	p, err := ParseProfile("test", strings.NewReader(`
# a comment
net.ipv4.tcp_fin_timeout = 7
net/ipv4/ip_local_port_range = 20000	20999
; another
net.ipv4.tcp_tw_recycle = 1
-net.ipv4.no_such_thing=1
net.core.netdev_max_backlog = 5
net.ipv4.tcp_mem = 1 2 3
vm.swappiness = 1
net.ipv4.tcp_congestion_control = nonesuch
net.ipv4.tcp_syncookies = many
net.ipv4.tcp_fin_timeout = 8
`))
	if err != nil {
		t.Fatal(err)
	}
	reports, err := l.Client.Apply(p)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Outcome{
		"net.ipv4.tcp_fin_timeout": Applied, "net.ipv4.ip_local_port_range": Applied, "net.ipv4.tcp_tw_recycle": Unknown,
		"net.ipv4.no_such_thing": Unknown, "net.core.netdev_max_backlog": Global, "net.ipv4.tcp_mem": Global, "vm.swappiness": Global,
		"net.ipv4.tcp_congestion_control": Refused, "net.ipv4.tcp_syncookies": Refused,
	}
	for _, r := range reports {
		if r.Outcome != want[r.Key] {
			t.Errorf("%s = %s: %s (%s), want %s", r.Key, r.Value, r.Outcome, r.Why, want[r.Key])
		}
		delete(want, r.Key)
	}
	if len(want) > 0 {
		t.Errorf("not accounted for: %v", want)
	}
	for h, value := range map[*Host]string{l.Client: "8", l.Server: "60"} {
		_ = h.Do(func() error {
			if got := read("net.ipv4.tcp_fin_timeout"); got != value {
				t.Errorf("%s: net.ipv4.tcp_fin_timeout = %s, want %s", h.Name, got, value)
			}
			return nil
		})
	}
	if got := read("net.ipv4.tcp_fin_timeout"); got != hosts {
		t.Errorf("the host's own setting was %s and is %s", hosts, got)
	}
}

func TestParseProfile(t *testing.T) {
	for text, want := range map[string]string{
		"net.ipv4.tcp_tw_reuse": "test:1: .*key = value",
		"\n= 1":                 "test:2: .*without a key",
		"net.ipv4.conf.*.x = 1": "test:1: .*patterns",
		"a..b = 1":              "test:1: .*no key",
		"../../etc/passwd = 1":  "no key",
		"/../x = 1":             "no key",
		strings.Repeat("a", longestLine+1) + "=1": "token too long",
		"a.b = \x00": "zero byte",
	} {
		if _, err := ParseProfile("test", strings.NewReader(text)); err == nil || !matches(want, err.Error()) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	p, err := ParseProfile("test", strings.NewReader("net/ipv4/conf/eth0.100/rp_filter = 0\n -a.b=\n"))
	if err != nil || len(p.Settings) != 2 {
		t.Fatal(p, err)
	}
	if s := p.Settings[0]; file(s.Key) != "/proc/sys/net/ipv4/conf/eth0.100/rp_filter" || s.Line != 1 {
		t.Errorf("%+v stands in %s", s, file(s.Key))
	}
	if s := p.Settings[1]; !s.Optional || s.Key != "a.b" || s.Value != "" {
		t.Errorf("%+v", s)
	}
	if rest := p.Without("a.b"); len(rest.Settings) != 1 || len(p.Settings) != 2 {
		t.Errorf("%+v", rest)
	}
}

// No key leads out of /proc/sys.
func FuzzParseProfile(f *testing.F) {
	f.Add("net.ipv4.tcp_tw_reuse = 1\n")
	f.Add("-net/ipv4/x.y/z = a b\n;\n#")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseProfile("fuzz", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range p.Settings {
			if name := file(s.Key); !strings.HasPrefix(name, "/proc/sys/") || strings.Contains(name, "/../") {
				t.Errorf("%q stands in %q", s.Key, name)
			}
		}
	})
}

func matches(pattern, text string) bool {
	for part := range strings.SplitSeq(pattern, ".*") {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
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
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if !alone.Process(t, attr) {
		return
	}
	l := newLab(t, Link{})
	listenIn(t, l.Server, "198.18.255.1:9000")
	if err := dialFrom(l.Client, "198.18.1.7:0", "198.18.255.1:9000"); err != nil {
		t.Error(err)
	}
	reports, err := l.Server.Apply(&Profile{Settings: []Setting{{Key: "net.ipv4.tcp_tw_reuse", Value: "1"}, {Key: "net.core.somaxconn", Value: "77"}}})
	if err != nil || !reports[0].Fine() || !reports[1].Fine() {
		t.Errorf("%+v, %v", reports, err)
	}
}
