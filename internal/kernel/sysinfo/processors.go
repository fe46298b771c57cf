package sysinfo

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// smtNames are what sys/devices/system/cpu/smt/active says.
var smtNames = map[string]string{"1": "on", "0": "off"}

// numaNodes counts the memory nodes that are online, in a list as 0-1,3.
func (f files) numaNodes() (n int) {
	for part := range strings.SplitSeq(f.text("sys/devices/system/node/online"), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || from > to {
			return 0
		}
		n += int(to - from + 1)
	}
	return n
}

// governor names what chooses the clock rates; several if processors differ.
func (f files) governor() string {
	var names []string
	for _, name := range f.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor") {
		if text := f.text(name); text != "" && !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// mitigations reads the mitigation of each vulnerability of this processor.
func (f files) mitigations() map[string]string {
	var all map[string]string
	for _, name := range f.glob("sys/devices/system/cpu/vulnerabilities/*") {
		text := f.text(name)
		if text == "" || text == "Not affected" {
			continue
		}
		if all == nil {
			all = map[string]string{}
		}
		all[path.Base(name)] = text
	}
	return all
}

// glob lists the files that match a pattern, in order. Pattern and names are relative to f.
func (f files) glob(pattern string) (names []string) {
	found, err := filepath.Glob(filepath.Join(string(f), pattern))
	if err != nil {
		return nil // the patterns are constants
	}
	for _, name := range found {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			continue
		}
		if rel, err := filepath.Rel(string(f), name); err == nil {
			names = append(names, rel)
		}
	}
	return names
}
