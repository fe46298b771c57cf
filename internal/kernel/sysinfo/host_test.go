package sysinfo

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

func TestHostOfFixture(t *testing.T) {
	want := metrics.Host{
		Hostname:   "bench-7",
		OS:         "Debian GNU/Linux 12 (bookworm)",
		Kernel:     "6.18.44",
		CPUModel:   "AMD EPYC 9654 96-Core Processor",
		MemoryByte: 16314832 * 1024,
		Clock:      "tsc",
		Hypervisor: "QEMU Standard PC (Q35 + ICH9, 2009)",
		Load:       [3]float64{0.51, 1.02, 12},

		NUMANodes:   3,
		SMT:         "on",
		Governor:    "performance,powersave",
		Mitigations: map[string]string{"spectre_v2": "Mitigation: Retpolines; IBPB: conditional"},

		Sysctls: map[string]string{
			"net.core.somaxconn":               "4096",
			"net.ipv4.ip_local_port_range":     "32768 60999",
			"net.ipv4.ip_local_reserved_ports": "",
			"net.ipv4.tcp_congestion_control":  "cubic",
			"net.ipv4.tcp_mem":                 "188826 251768 377652",
			"net.ipv4.tcp_tw_reuse":            "2",
			"net.netfilter.nf_conntrack_max":   "262144",
		},
		Limits: map[string]string{
			"nofile_soft":   "1024",
			"nofile_hard":   "1048576",
			"memory_cgroup": "8589934592",
			"cpu_cgroup":    "1.5",
		},
	}
	got := files("testdata/machine").host()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestHostOfNothing(t *testing.T) {
	got := files(t.TempDir()).host()
	want := metrics.Host{Sysctls: map[string]string{}, Limits: map[string]string{}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want nothing", got)
	}
}

// TestHostOfThisMachine asks for the same in other ways.
func TestHostOfThisMachine(t *testing.T) {
	h := Host()
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"hostname", h.Hostname, hostname},
		{"kernel", h.Kernel, unix.ByteSliceToString(u.Release[:])},
		{"arch", h.Arch, unix.ByteSliceToString(u.Machine[:])},
		{"cpus", h.CPUs, runtime.NumCPU()},
		{"memory", h.MemoryByte, info.Totalram * uint64(info.Unit)},
		{"nofile_soft", h.Limits["nofile_soft"], rlimit(nofile.Cur)},
		{"nofile_hard", h.Limits["nofile_hard"], rlimit(nofile.Max)},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
	for _, name := range []string{"net.core.somaxconn", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_tw_reuse"} {
		if h.Sysctls[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	if h.CPUModel == "" || h.OS == "" || h.Clock == "" {
		t.Errorf("cpu model %q, os %q, clocksource %q: want none empty", h.CPUModel, h.OS, h.Clock)
	}
}

func rlimit(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	b, _ := json.Marshal(n)
	return string(b)
}

// tree makes a root of the given files.
func tree(t *testing.T, contents map[string]string) files {
	t.Helper()
	root := t.TempDir()
	for name, text := range contents {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return files(root)
}

func TestHypervisor(t *testing.T) {
	const (
		vendor  = "sys/class/dmi/id/sys_vendor"
		product = "sys/class/dmi/id/product_name"
		guest   = "flags\t: fpu hypervisor sse2\n"
		host    = "flags\t: fpu sse2\n"
		arm     = "Features\t: fp asimd\n"
	)
	for _, c := range []struct {
		name    string
		cpuinfo string
		files   map[string]string
		want    string
	}{
		{"bare metal", host, map[string]string{vendor: "Dell Inc.\n", product: "PowerEdge R750\n"}, ""},
		{"bare metal that says nothing", host, nil, ""},
		{"flag and firmware", guest, map[string]string{vendor: "Microsoft Corporation\n", product: "Virtual Machine\n"},
			"Microsoft Corporation Virtual Machine"},
		{"flag and unknown firmware", guest, map[string]string{vendor: "Hetzner\n", product: "vServer\n"}, "Hetzner vServer"},
		{"flag alone", guest, nil, "yes (unnamed)"},
		{"xen", host, map[string]string{"sys/hypervisor/type": "xen\n"}, "xen"},
		{"arm guest", arm, map[string]string{vendor: "Amazon EC2\n", product: "m7g.large\n"}, "Amazon EC2 m7g.large"},
		{"arm bare metal", arm, map[string]string{vendor: "Amazon EC2\n", product: "m7g.metal\n"}, ""},
		{"hidden flag", host, map[string]string{vendor: "QEMU\n"}, "QEMU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tree(t, c.files).hypervisor(c.cpuinfo); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLimitsOfControlGroups(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  map[string]string
	}{
		{"version 2, the parent is tighter", map[string]string{
			"proc/self/cgroup":             "0::/a/b\n",
			"sys/fs/cgroup/a/memory.max":   "1000\n",
			"sys/fs/cgroup/a/b/memory.max": "2000\n",
			"sys/fs/cgroup/a/cpu.max":      "50000 100000\n",
			"sys/fs/cgroup/a/b/cpu.max":    "200000 100000\n",
		}, map[string]string{"memory_cgroup": "1000", "cpu_cgroup": "0.5"}},
		{"version 2, none", map[string]string{
			"proc/self/cgroup":           "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "max\n",
			"sys/fs/cgroup/a/cpu.max":    "max 100000\n",
		}, map[string]string{}},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:memory:/a\n4:cpu,cpuacct:/b\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "9223372036854771712\n",
			"sys/fs/cgroup/cpu/b/cpu.cfs_quota_us":         "300000\n",
			"sys/fs/cgroup/cpu/b/cpu.cfs_period_us":        "100000\n",
		}, map[string]string{"memory_cgroup": "3000", "cpu_cgroup": "3"}},
		{"version 1, none", map[string]string{
			"proc/self/cgroup":                           "5:memory:/\n4:cpu:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "-1\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000\n",
		}, map[string]string{}},
		{"a container that sees its host's path", map[string]string{
			"proc/self/cgroup":         "0::/../../docker/1234\n",
			"sys/fs/cgroup/memory.max": "4000\n",
		}, map[string]string{"memory_cgroup": "4000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tree(t, c.files).limits(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestOSName(t *testing.T) {
	for release, want := range map[string]string{
		"NAME=x\nPRETTY_NAME=\"Fedora \\\"Linux\\\" 43\"\n": `Fedora "Linux" 43`,
		"PRETTY_NAME='Alpine Linux v3.23'":                  "Alpine Linux v3.23",
		"PRETTY_NAME=Void":                                  "Void",
		"PRETTY_NAME=\"":                                    `"`,
		"NAME=nothing pretty":                               "",
	} {
		if got := osName(release); got != want {
			t.Errorf("%q: got %q, want %q", release, got, want)
		}
	}
}

func TestCPUModel(t *testing.T) {
	for cpuinfo, want := range map[string]string{
		"processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n":            "AMD EPYC",
		"processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n":       "implementer 0x41 part 0xd40",
		"processor\t: 0\ncpu\t\t: POWER9, altivec supported\nclock\t: 3 GHz": "POWER9, altivec supported",
		"processor\t: 0\nuarch\t\t: sifive,u74-mc\n":                         "sifive,u74-mc",
		"": "",
	} {
		if got := cpuModel(cpuinfo); got != want {
			t.Errorf("%q: got %q, want %q", cpuinfo, got, want)
		}
	}
}

// FuzzHost feeds one text to all parsers of Host: none may panic, and the whole
// must be possible to write as JSON.
func FuzzHost(f *testing.F) {
	for _, name := range []string{
		"etc/os-release", "proc/cpuinfo", "proc/meminfo", "proc/loadavg", "proc/self/limits", "proc/self/cgroup",
	} {
		f.Add(files("testdata/machine").text(name))
	}
	f.Add("NaN +Inf 1e999")
	f.Add("MemTotal: 18446744073709551615 kB")
	f.Add("0::/../../../../etc")
	f.Fuzz(func(t *testing.T, text string) {
		h := metrics.Host{OS: osName(text), CPUModel: cpuModel(text), MemoryByte: memTotal(text), Load: loadavg(text)}
		h.Limits = map[string]string{}
		h.Limits["nofile_soft"], h.Limits["nofile_hard"], _ = nofile(text)
		if _, err := json.Marshal(h); err != nil {
			t.Error(err)
		}
		for _, dir := range cgroups(text, "memory") {
			if !strings.HasPrefix(filepath.Clean(dir)+"/", "sys/fs/cgroup/") {
				t.Errorf("control group outside of its mount: %q", dir)
			}
		}
	})
}
