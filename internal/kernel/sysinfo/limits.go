package sysinfo

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// limits reads the limits of this process, by the names that Host lists.
func (f files) limits() map[string]string {
	limits := map[string]string{}
	if soft, hard, ok := nofile(f.text("proc/self/limits")); ok {
		limits["nofile_soft"], limits["nofile_hard"] = soft, hard
	}
	if n, ok := f.memoryLimit(); ok {
		limits["memory_cgroup"] = strconv.FormatUint(n, 10)
	}
	if n, ok := f.cpuLimit(); ok {
		limits["cpu_cgroup"] = strconv.FormatFloat(n, 'g', 4, 64)
	}
	return limits
}

// Descriptors is the hard limit of descriptors of this process; ok is false if there is none.
func Descriptors() (n int, ok bool) {
	_, hard, _ := nofile(files("/").text("proc/self/limits"))
	n, err := strconv.Atoi(hard)
	return n, err == nil
}

// nofile finds the limits of open descriptors in /proc/self/limits. A limit may be "unlimited".
func nofile(text string) (soft, hard string, ok bool) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "Max open files"); found {
			if fields := strings.Fields(rest); len(fields) >= 2 {
				return fields[0], fields[1], true
			}
		}
	}
	return "", "", false
}

// memoryLimit is the smallest limit of memory of this process's control group and its parents, in
// bytes.
func (f files) memoryLimit() (limit uint64, ok bool) {
	for _, dir := range cgroups(f.text("proc/self/cgroup"), "memory") {
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} { // version 2, version 1
			// Version 2 says max for none; version 1 has a number near 2^63.
			n, err := strconv.ParseUint(f.text(path.Join(dir, name)), 10, 64)
			if err == nil && n < 1<<62 && (!ok || n < limit) {
				limit, ok = n, true
			}
		}
	}
	return limit, ok
}

// cpuLimit is the smallest quota of processor time of this process's control group and its parents, in
// processors.
func (f files) cpuLimit() (limit float64, ok bool) {
	for _, dir := range cgroups(f.text("proc/self/cgroup"), "cpu") {
		quota, period, _ := strings.Cut(f.text(path.Join(dir, "cpu.max")), " ") // version 2
		if quota == "" {                                                        // version 1
			quota = f.text(path.Join(dir, "cpu.cfs_quota_us"))
			period = f.text(path.Join(dir, "cpu.cfs_period_us"))
		}
		// Version 2 says max for none, version 1 says -1.
		q, err1 := strconv.ParseUint(quota, 10, 63)
		p, err2 := strconv.ParseUint(period, 10, 63)
		if err1 != nil || err2 != nil || q == 0 || p == 0 {
			continue
		}
		if n := float64(q) / float64(p); !ok || n < limit {
			limit, ok = n, true
		}
	}
	return limit, ok
}

// cgroups lists the directories of a controller, from the group in /proc/self/cgroup up to the root. In
// a container that group may not exist below its mount; the root does.
func cgroups(text, controller string) []string {
	const mount = "sys/fs/cgroup"
	var dirs []string
	for line := range strings.Lines(text) {
		// cgroups(7): hierarchy-ID:controller-list:path, the list is empty in version 2.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		root := mount
		if list := fields[1]; list != "" {
			if !slices.Contains(strings.Split(list, ","), controller) {
				continue
			}
			root = path.Join(mount, controller)
		}
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			dirs = append(dirs, root+group)
			if group == "/" {
				break
			}
		}
	}
	return dirs
}
