// Package sysinfo describes what of this machine decides a run's numbers, and finds out what its kernel
// can do.
package sysinfo

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/metrics"
)

// Host describes this machine. What cannot be read stays empty.
//
// CPUs is the number of processors that this process may use. Limits has nofile_soft (as raised by the
// Go runtime) and nofile_hard, and if a control group sets them memory_cgroup in bytes and cpu_cgroup in
// processors.
func Host() metrics.Host {
	h := files("/").host()
	h.CPUs = runtime.NumCPU()
	h.Arch = machine()
	h.Listening = sockdiag.ListeningPorts()
	return h
}

// machine is what uname -m prints.
func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// files is the directory with proc, sys and etc: "/", or a fixture.
type files string

// read returns a whole file, without the space around it.
func (f files) read(name string) (text string, ok bool) {
	b, err := os.ReadFile(filepath.Join(string(f), name))
	return strings.TrimSpace(string(b)), err == nil
}

// text is read, with an empty text for a missing file.
func (f files) text(name string) string {
	text, _ := f.read(name)
	return text
}

// host reads everything that is in files.
func (f files) host() metrics.Host {
	cpuinfo := f.text("proc/cpuinfo")
	release, ok := f.read("etc/os-release")
	if !ok {
		release = f.text("usr/lib/os-release") // os-release(5): the order in which to look
	}
	return metrics.Host{
		Hostname:   f.text("proc/sys/kernel/hostname"),
		OS:         osName(release),
		Kernel:     f.text("proc/sys/kernel/osrelease"),
		CPUModel:   cpuModel(cpuinfo),
		MemoryByte: memTotal(f.text("proc/meminfo")),
		Clock:      f.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Hypervisor: f.hypervisor(cpuinfo),
		Load:       loadavg(f.text("proc/loadavg")),

		NUMANodes:   f.numaNodes(),
		SMT:         smtNames[f.text("sys/devices/system/cpu/smt/active")],
		Governor:    f.governor(),
		Mitigations: f.mitigations(),

		Sysctls: f.sysctls(),
		Limits:  f.limits(),
	}
}

// Load reads the load averages over 1, 5 and 15 minutes.
func Load() [3]float64 { return loadavg(files("/").text("proc/loadavg")) }

// osName finds PRETTY_NAME in os-release(5), and takes off the quotes of a shell.
func osName(release string) string {
	for line := range strings.Lines(release) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME=")
		if !ok {
			continue
		}
		if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
			value = value[1 : n-1]
		}
		return strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`, "\\`", "`").Replace(value)
	}
	return ""
}

// cpuField finds the first line of a key in /proc/cpuinfo.
func cpuField(cpuinfo, key string) string {
	for line := range strings.Lines(cpuinfo) {
		k, v, _ := strings.Cut(line, ":")
		if strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// cpuModel is the processor's name; on ARM, its numbers.
func cpuModel(cpuinfo string) string {
	for _, key := range []string{"model name", "cpu model", "cpu", "uarch", "Processor"} {
		if model := cpuField(cpuinfo, key); model != "" {
			return model
		}
	}
	if part := cpuField(cpuinfo, "CPU part"); part != "" {
		return "implementer " + cpuField(cpuinfo, "CPU implementer") + " part " + part
	}
	return ""
}

// memTotal finds MemTotal in /proc/meminfo, in bytes.
func memTotal(meminfo string) uint64 {
	for line := range strings.Lines(meminfo) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			if kB, err := strconv.ParseUint(fields[1], 10, 54); err == nil {
				return kB * 1024
			}
		}
	}
	return 0
}

// loadavg reads the three averages of /proc/loadavg, or none.
func loadavg(text string) (load [3]float64) {
	fields := strings.Fields(text)
	if len(fields) < len(load) {
		return [3]float64{}
	}
	for i := range load {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || !(v >= 0 && v <= math.MaxInt32) { // NaN has no place in JSON
			return [3]float64{}
		}
		load[i] = v
	}
	return load
}

// hypervisor names what the machine runs on: "yes (unnamed)" if it has no name, nothing on bare metal.
func (f files) hypervisor(cpuinfo string) string {
	if kind := f.text("sys/hypervisor/type"); kind != "" {
		return kind
	}
	vendor, product := f.text("sys/class/dmi/id/sys_vendor"), f.text("sys/class/dmi/id/product_name")
	name := strings.TrimSpace(vendor + " " + product)
	for _, flag := range strings.Fields(cpuField(cpuinfo, "flags")) {
		if flag != "hypervisor" { // CPUID 1, ECX bit 31: set by hypervisors only
			continue
		}
		if name == "" {
			return "yes (unnamed)"
		}
		return name
	}
	// ARM has no such flag, and some hypervisors hide it. Then the name must be that of a virtual
	// machine: the firmware of a real one names its maker.
	if strings.HasSuffix(product, ".metal") { // Amazon's bare machines
		return ""
	}
	for _, virtual := range []string{
		"QEMU", "KVM", "VMware", "VirtualBox", "innotek", "Xen", "Bochs", "BHYVE", "Parallels",
		"Virtual Machine", "Amazon EC2", "Google Compute Engine", "Alibaba Cloud", "OpenStack",
		"Apple Virtualization", "Firecracker", "Cloud Hypervisor",
	} {
		if strings.Contains(name, virtual) {
			return name
		}
	}
	return ""
}
