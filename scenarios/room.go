package scenarios

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/scenarios/file"
)

// On loopback a claim shares the table of sockets in TIME_WAIT with everything that this host did
// before. If the table is full, the kernel closes sockets at once instead of moving them to
// TIME_WAIT, or to FIN_WAIT_2 as orphans (tcp_time_wait). That is no evidence against a claim.

// roomPatience is a little more than TCP_TIMEWAIT_LEN, after which nothing of a load is left.
const roomPatience = 65 * time.Second

// roomPoll is how often the table is looked at: the kernel does not announce its changes.
const roomPoll = 200 * time.Millisecond

// awaitRoom waits until this namespace has room for sockets in TIME_WAIT, if the claim is about
// them. It calls waits, which may be nil, if that takes time. An error means that there is no room,
// or that ctx ended.
func awaitRoom(ctx context.Context, p *file.Phenomenon, waits func()) error {
	if !p.OnLoopback() || !countsTimeWait(p) {
		return nil
	}
	return waitForRoom(ctx, roomPatience, roomLeft, waits)
}

// countsTimeWait tells whether the verdict looks at sockets in TIME_WAIT or FIN_WAIT_2.
func countsTimeWait(p *file.Phenomenon) bool {
	for _, e := range p.Verdict() {
		if e = strings.ToLower(e); strings.Contains(e, "time_wait") || strings.Contains(e, "fin_wait") {
			return true
		}
	}
	return false
}

func waitForRoom(ctx context.Context, patience time.Duration, left func() (bool, error), waits func()) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(roomPoll)
	defer again.Stop()
	for first := true; ; first = false {
		if room, err := left(); room || err != nil {
			return err
		}
		if first && waits != nil {
			waits()
		}
		select {
		case <-again.C:
		case <-late.C:
			return fmt.Errorf("the table of sockets in TIME_WAIT is full (net.ipv4.tcp_max_tw_buckets), and was so for %v: end what fills it, or use a lab", patience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// roomLeft tells whether a tenth of the table is free.
func roomLeft() (bool, error) {
	now, err := kernel.Sockstat()
	if err != nil {
		return false, fmt.Errorf("count sockets in TIME_WAIT: %w", err)
	}
	most, err := strconv.ParseInt(sysinfo.Sysctls()["net.ipv4.tcp_max_tw_buckets"], 10, 64)
	if err != nil {
		return true, nil // a namespace that does not show its limit is not asked about it
	}
	return now.TimeWait < most-most/10, nil
}
