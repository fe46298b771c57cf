package scenarios

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/alone"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/scenarios/stage"
)

// When a socket enters TIME_WAIT its timer has 60 s, whatever net.ipv4.tcp_fin_timeout is.
func TestTimeWaitTimers(t *testing.T) {
	t.Parallel()
	s, _ := Find("time-wait-length")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var client func(func() error) error
	var left []time.Duration
	entered, began := 0, time.Now()
	_, err := Run(ctx, s, Where{}, Options{}, Observer{
		Lab: func(v *stage.Venue) error {
			client = v.Client.Do
			return nil
		},
		Event: func(e metrics.Event) {
			if e.Kind != metrics.Change || e.Text != "TIME_WAIT" {
				return
			}
			if entered++; entered < 2 {
				return
			}
			if err := client(func() (err error) { left, err = timeWaits(); return err }); err != nil {
				t.Error(err)
			}
			cancel()
		},
	})
	if _, refused := probe.Explain(err); refused {
		alone.Needed(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 {
		t.Fatalf("%d sockets in TIME_WAIT", len(left))
	}
	for _, d := range left {
		if d > time.Minute+longestTick || d < time.Minute-time.Since(began)-longestTick {
			t.Errorf("the timer has %v left, %v after the start", d, time.Since(began))
		}
	}
}

// longestTick is that of a kernel with HZ=100.
const longestTick = 10 * time.Millisecond

// timeWaits are what the timers of sockets in TIME_WAIT have left in the thread's namespace
// (/proc/net/tcp, column tm->when).
func timeWaits() (left []time.Duration, err error) {
	const timeWait, tick = "06", 10 * time.Millisecond // TCP_TIME_WAIT, USER_HZ
	text, err := os.ReadFile("/proc/thread-self/net/tcp")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[3] != timeWait {
			continue
		}
		_, when, _ := strings.Cut(f[5], ":")
		n, err := strconv.ParseInt(when, 16, 64)
		if err != nil {
			return nil, err
		}
		left = append(left, time.Duration(n)*tick)
	}
	return left, nil
}
