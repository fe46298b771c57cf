package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTimes is the time of all processors together since the machine started, in ticks of 10 ms
// (USER_HZ): the first line of /proc/stat. In a container too, it is that of the whole machine.
type CPUTimes struct {
	User    uint64 // includes guests
	Nice    uint64
	System  uint64
	Idle    uint64
	IOWait  uint64 // idle while something waited for a disk
	IRQ     uint64
	SoftIRQ uint64 // the part of the network stack that no process is charged for
	Steal   uint64 // ready to run while the hypervisor ran something else
}

// CPUShares are shares of the time of all processors, from 0 to 1. The rest is idle.
type CPUShares struct {
	Busy    float64 // includes SoftIRQ
	SoftIRQ float64
	Steal   float64
}

// Stat reads the processor times from /proc/stat.
func Stat() (CPUTimes, error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return CPUTimes{}, err
	}
	// The first line fits: ten numbers of at most 20 digits.
	var buffer [256]byte
	n, err := io.ReadAtLeast(f, buffer[:], len("cpu  "))
	if err = errors.Join(err, f.Close()); err != nil {
		return CPUTimes{}, fmt.Errorf("/proc/stat: %w", err)
	}
	t, err := parseStat(buffer[:n])
	if err != nil {
		return CPUTimes{}, fmt.Errorf("/proc/stat: %w", err)
	}
	return t, nil
}

// ProcessTime is the processor time of this process, without its children.
func ProcessTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Sub returns how the time since an earlier reading was spent; zero if no tick passed. Idle and IOWait
// may step back a little (proc_stat(5)), which counts as no time.
func (t CPUTimes) Sub(earlier CPUTimes) CPUShares {
	since := func(now, before uint64) float64 { return float64(max(now, before) - before) }
	softirq := since(t.SoftIRQ, earlier.SoftIRQ)
	busy := since(t.User, earlier.User) + since(t.Nice, earlier.Nice) +
		since(t.System, earlier.System) + since(t.IRQ, earlier.IRQ) + softirq
	steal := since(t.Steal, earlier.Steal)
	total := busy + steal + since(t.Idle, earlier.Idle) + since(t.IOWait, earlier.IOWait)
	if total == 0 {
		return CPUShares{}
	}
	return CPUShares{Busy: busy / total, SoftIRQ: softirq / total, Steal: steal / total}
}

// parseStat reads the line "cpu  user nice system idle iowait irq softirq steal guest guest_nice". The
// last two are part of user and nice.
func parseStat(text []byte) (CPUTimes, error) {
	line, _, ok := cutLine(text)
	if !ok {
		return CPUTimes{}, errors.New("line 1: ends within")
	}
	// The line of all processors has two spaces after its name.
	fields, ok := bytes.CutPrefix(line, []byte("cpu "))
	if !ok {
		return CPUTimes{}, fmt.Errorf("line 1: want the line of all processors: %q", line)
	}
	var t CPUTimes
	for _, to := range []*uint64{
		&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.SoftIRQ, &t.Steal,
	} {
		var field []byte
		if field, fields, ok = cutField(fields); !ok {
			return CPUTimes{}, fmt.Errorf("line 1: want 8 times and more: %q", line)
		}
		v, ok := parseValue(field)
		if !ok || v < 0 {
			return CPUTimes{}, fmt.Errorf("line 1: want a time, not %q", field)
		}
		*to = uint64(v)
	}
	return t, nil
}
