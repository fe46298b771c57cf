package lab

import (
	"slices"
	"testing"
)

// Each profile that comes with the program can be read, and a lab takes every line of it, or
// it is known why not.
func TestBuiltinProfiles(t *testing.T) {
	known := map[string]Outcome{
		"net.ipv4.tcp_tw_recycle": Unknown, "net.ipv4.tcp_max_orphans": Global, "net.core.netdev_max_backlog": Global,
		"net.ipv4.tcp_mem": Global, "net.core.rmem_max": ReadOnly, "net.core.wmem_max": ReadOnly, "fs.file-max": Global, "vm.swappiness": Global,
	}
	names := Profiles()
	if !slices.Contains(names, KernelDefault) || !slices.Contains(names, HostProfile) || len(names) < 7 {
		t.Errorf("%v", names)
	}
	for _, name := range names {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		l := newLab(t, Link{})
		reports, err := l.Server.Apply(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			want, special := known[r.Key]
			if !special {
				want = Applied
			}
			if r.Outcome != want && (name != HostProfile || r.Outcome != Global && r.Outcome != ReadOnly) {
				t.Errorf("%s: %s = %s: %s %s (now %q), want %s", name, r.Key, r.Value, r.Outcome, r.Why, r.Now, want)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	for name, want := range map[string]string{
		"folklor": "did you mean folklore", "x": "there are: .*folklore", "./none.conf": "none.conf: no such file", "/": "is a directory",
	} {
		if _, err := Load(name); err == nil || !matches(want, err.Error()) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
