package lab

import (
	"os"
	"slices"
	"strings"
	"tcpbench/internal/machine"
	"testing"
)

// Every key is accounted for, and the host keeps its own values.
func TestApply(t *testing.T) {
	l := newLab(t, Link{})
	read := func(key string) string {
		text, err := os.ReadFile(machine.File(key))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(text)), " ")
	}
	hosts := read("net.ipv4.tcp_fin_timeout")
	p, err := machine.ParseProfile("test", strings.NewReader(`
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
	reports, err := machine.Apply(l.Client, p)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]machine.Outcome{
		"net.ipv4.tcp_fin_timeout": machine.Applied, "net.ipv4.ip_local_port_range": machine.Applied, "net.ipv4.tcp_tw_recycle": machine.Unknown,
		"net.ipv4.no_such_thing": machine.Unknown, "net.core.netdev_max_backlog": machine.Global, "net.ipv4.tcp_mem": machine.Global, "vm.swappiness": machine.Global,
		"net.ipv4.tcp_congestion_control": machine.Refused, "net.ipv4.tcp_syncookies": machine.Refused,
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

// Each profile that comes with the program can be read, and a lab takes every line of it, or
// it is known why not.
func TestBuiltinProfiles(t *testing.T) {
	known := map[string]machine.Outcome{
		"net.ipv4.tcp_tw_recycle": machine.Unknown, "net.ipv4.tcp_max_orphans": machine.Global, "net.core.netdev_max_backlog": machine.Global,
		"net.ipv4.tcp_mem": machine.Global, "net.core.rmem_max": machine.ReadOnly, "net.core.wmem_max": machine.ReadOnly, "fs.file-max": machine.Global, "vm.swappiness": machine.Global,
	}
	names := machine.Profiles()
	if !slices.Contains(names, machine.KernelDefault) || !slices.Contains(names, machine.HostProfile) || len(names) < 7 {
		t.Errorf("%v", names)
	}
	for _, name := range names {
		p, err := machine.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		l := newLab(t, Link{})
		reports, err := machine.Apply(l.Server, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			want, special := known[r.Key]
			if !special {
				want = machine.Applied
			}
			if r.Outcome != want && (name != machine.HostProfile || r.Outcome != machine.Global && r.Outcome != machine.ReadOnly) {
				t.Errorf("%s: %s = %s: %s %s (now %q), want %s", name, r.Key, r.Value, r.Outcome, r.Why, r.Now, want)
			}
		}
	}
}
