package report

import (
	"io"
	"math"
	"testing"
	"time"

	"tcpbench/metrics"
	"tcpbench/metrics/compare"
)

// compared are two sides, in turns or one after the other, with fixed noise.
func compared(turns bool) []compare.Side {
	sides := []compare.Side{{Name: "kernel-default"}, {Name: "folklore\x1b[31m"}}
	for i := range 12 {
		for k := range sides {
			wave := math.Sin(float64(7*i + 3*k))
			at := 2*i + k
			if !turns {
				at = 12*k + i
			}
			r := &metrics.Result{
				Started: time.Unix(1e9+int64(at), 0), Rate: 25_000 * (1 + 0.02*wave), Tally: metrics.Tally{Attempted: 25_000},
				Command: []string{"/usr/bin/tcpbench", "lab", "short", "--profile", "my file.conf", "--out", "x.json"},
				Histograms: map[string]metrics.Histogram{
					metrics.Connect: {Count: 5_000, P50: int64(250_000 * (1 - 0.1*float64(k) + 0.01*wave)), P99: int64(2e6 * (1 + 0.2*wave)), P999: 9e6},
				},
				CPU: metrics.CPU{Client: &metrics.Usage{PerConnection: 36 + wave}},
				Lab: &metrics.Lab{},
				Kernel: []metrics.Namespace{{
					Timeline: metrics.Timeline{T: []float64{0}, Sockets: map[string][]int64{"client.TIME_WAIT": {25_000}}},
					Counters: map[string]map[string]int64{"TcpExt": {"ListenDrops": int64(12 * k)}},
				}},
			}
			if k == 0 {
				r.Lab.Client.Values = map[string]string{"net.ipv4.tcp_timestamps": "1", "net.ipv4.tcp_tw_recycle": "", "vm.swappiness": "60"}
			} else {
				r.Lab.Client.Settings = []metrics.LabSetting{
					{Key: "net.ipv4.tcp_timestamps", Value: "0", Outcome: "applied", Now: "0"},
					{Key: "net.ipv4.tcp_tw_recycle", Value: "1", Outcome: "unknown"},
					{Key: "vm.swappiness", Value: "10", Outcome: "global", Now: "60"},
				}
				r.Flags = []metrics.Flag{{Name: "noisy-host", Why: "Processes other than client and server used 42 % of the processors during the run."}}
			}
			sides[k].Results = append(sides[k].Results, r)
		}
	}
	return sides
}

func TestComparison(t *testing.T) {
	few := compared(true)
	few[0].Results, few[1].Results = few[0].Results[:3], few[1].Results[:4]
	for _, s := range few {
		for _, r := range s.Results {
			r.Flags = []metrics.Flag{{Name: "invalid", Why: "The check balance does not hold, so some of these numbers are wrong."}}
		}
	}
	draw := func(sides []compare.Side, style Style) func(io.Writer) error {
		return func(w io.Writer) error { return Comparison(w, compare.Of(sides), style) }
	}
	drawnAsGolden(t, map[string]func(io.Writer) error{
		"compare":          draw(compared(true), Style{}),
		"compare-wide":     draw(compared(true), Style{Width: 120}),
		"compare-narrow":   draw(compared(true), Style{Width: 50}),
		"compare-untested": draw(compared(false), Style{}),
		"compare-invalid":  draw(few, Style{Color: true}),
	})
}
