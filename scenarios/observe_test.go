package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/witness"
	"tcpbench/metrics"
	"tcpbench/metrics/diagnose"
)

// The ports that a run says there are, are those that the kernel gives: a server that listens
// within the range takes one from every client, and one that may choose listens outside of it.
func TestPortsThatCanBeHad(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=20000 20099", "net.ipv4.ip_local_reserved_ports=20090-20091", "net.ipv4.tcp_tw_reuse=0", "net.ipv4.tcp_rfc1337=1") {
		return
	}
	for _, tt := range []struct {
		flags string
		want  uint64
	}{
		{"", 98}, {"--ports 20050", 97},
		{"--local-ports 20080-20099 --ports 20085", 17}, // IP_LOCAL_PORT_RANGE; the others are in TIME_WAIT
		{"--local-ports 30000-30009 --explicit-ports --ports 9000", 10},
	} {
		// Each has another source, and so a range of its own. A closed loop pauses after a failure.
		flags := fmt.Sprintf("--count %d --connections 2 --threads 1 --warmup 0s --sources 127.0.0.%[2]d %s", tt.want+2, tt.want, tt.flags)
		r := staged(t, Short, flags)
		if r.Succeeded != tt.want || r.Failed["connect.ports_exhausted"]+r.Failed["socket.ports_exhausted"] != 2 {
			t.Errorf("%s: %d succeeded, want %d; %v", flags, r.Succeeded, tt.want, r.Failed)
		}
		if e := r.Exhaustion; e == nil || e.Ports != int(tt.want) || r.Kernel[0].Spaces.Ports != int(tt.want) || r.Kernel[0].Spaces.Peak != int(tt.want) {
			t.Errorf("%s: %+v of %+v, want %d ports", flags, e, r.Kernel[0].Spaces, tt.want)
		}
		if !strings.Contains(tt.flags, "--local-ports") && r.Host.LocalPorts() != int(tt.want) {
			t.Errorf("%s: the host has %d local ports, want %d", flags, r.Host.LocalPorts(), tt.want)
		}
	}
}

// A thousand ports whose TIME_WAIT nothing ends early are used once each. The result says
// where and when they ran out, as was predicted, and what it says to do helps.
func TestExhaustionIsPredictedSeenAndMended(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=20000 20999", "net.ipv4.tcp_tw_reuse=0", "net.ipv4.tcp_rfc1337=1") {
		return
	}
	// A machine that does not keep up misses arrivals: it has a second for those.
	const rate = " --rate 500 --warmup 0s --duration "
	r := staged(t, Short, "--sources 127.0.0.1 --ports 9000"+rate+"4s")
	missing := r.Failed["connect.ports_exhausted"]
	if r.Succeeded != 1000 || missing == 0 || r.TotalFailed() != missing {
		t.Errorf("%d succeeded, %v", r.Succeeded, r.Failed)
	}
	f := r.Finding(diagnose.PortsExhausted)
	if f == nil {
		t.Fatalf("not found: %+v", r.Findings)
	}
	if !strings.Contains(f.What, "from 127.0.0.1 to 127.0.0.1:9000") || !regexp.MustCompile(`of its 1,000 ports (99.|1,000) were in TIME_WAIT`).MatchString(f.What) {
		t.Errorf("it does not name the space: %s", f.What)
	}
	at, _ := f.Of("time_to_exhaustion")
	predicted, _ := f.Of("predicted")
	if predicted != 2 || at < 0.8*predicted || at > r.ElapsedS {
		t.Errorf("after %v s of %v, and %v s were predicted", at, r.ElapsedS, predicted)
	}
	if e := r.Exhaustion; e != nil && (e.Ports != 1000 || e.TimeWait+e.InUse != 1000) {
		t.Errorf("at that moment %+v", e)
	}
	if r.Exhaustion == nil || r.Exhaustion.Source != "127.0.0.1" || r.Exhaustion.Target != "127.0.0.1:9000" {
		t.Errorf("%+v", r.Exhaustion)
	}
	if spells := r.Histograms[metrics.Exhausted]; spells.Count == 0 || spells.Max <= 0 {
		t.Errorf("spells without a port: %d, the longest %d ns", spells.Count, spells.Max)
	}
	// Second by second: what connect() takes while there are ports, and what it misses after.
	early, late := r.Series[0], r.Series[len(r.Series)-1]
	if early.ConnectCallMean == 0 || early.Exhausted != 0 || late.Exhausted == 0 || (late.ConnectCallMean == 0) != (late.Succeeded == 0) {
		t.Errorf("the first second %+v, the last %+v", early, late)
	}
	// The half with the port search: whoever came then is apart, from the first census on that saw
	// it. On a machine with many sockets a census is dear, and they are rare.
	var seen int64
	line := &r.Kernel[0].Timeline
	for i := range line.T {
		if seen = line.Sockets["fullest.TIME_WAIT"][i] + line.Sockets["fullest.other"][i]; seen >= 500 {
			break
		}
	}
	left := 1000 - seen // connects until there is no port
	if upper := r.Histograms[metrics.ConnectCallUpper].Count; upper < left/2-50 || upper > 520 {
		t.Errorf("%d connects in the upper half; it was seen when %d ports were taken", upper, seen)
	}
	for _, h := range []string{metrics.TimeWaitSockets, metrics.PortsInUse} {
		if got := r.Histograms[h].Max; got != 1000 {
			t.Errorf("%s up to %d", h, got)
		}
	}
	mended := func(what, args string) {
		t.Helper()
		if !slices.ContainsFunc(f.Remedies, func(r metrics.Remedy) bool { return strings.Contains(r.Do, what) }) {
			t.Errorf("no remedy says %q: %+v", what, f.Remedies)
		}
		if r := staged(t, Short, args+rate+"3s"); r.Succeeded+r.Missed != 1500 || r.Succeeded <= 1000 || r.Finding(diagnose.PortsExhausted) != nil || r.Predicted(diagnose.PortsExhausted) != nil {
			t.Errorf("%s: %d succeeded, %d were missed, %v: %+v", what, r.Succeeded, r.Missed, r.Failed, r.Findings)
		}
	}
	mended("more source addresses", "--ports 9001 --sources 127.0.0.1-127.0.0.2")
	mended("destination ports", "--ports 9002-9003 --sources 127.0.0.1")
	mended("server close first", "--ports 9004 --sources 127.0.0.1 --close server")
	alone.Sysctl(t, "net.ipv4.tcp_tw_reuse=1")
	mended("net.ipv4.tcp_tw_reuse=1", "--ports 9005 --sources 127.0.0.1")
}

// What a machine does to a run is not the run's fault.
// The receive path is the whole machine's.
var circumstances = []string{"noisy-host", "steal", "client-limited", "server-limited", "receive-path"}

func TestAHealthyRunHasNoFindings(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	runs := []string{"--rate 300 --duration 600ms", "--count 2000 --connections 32", "--count 500 --close server --close-how rst"}
	if alone.IPv6(t) {
		runs = append(runs, "--count 200 --ipv6")
	}
	for _, args := range runs {
		r := staged(t, Short, args)
		for _, f := range r.Findings {
			if !slices.Contains(circumstances, f.Name) {
				t.Errorf("%s: %s: %s %v", args, f.Name, f.What, f.Evidence)
			}
		}
		if len(r.Forecast) > 0 {
			t.Errorf("%s: forecast %+v", args, r.Forecast)
		}
	}
}

// Nothing but the run moves the counters of a namespace that is new, so what it saw move is
// what the witnesses read afterwards; and so is its TIME_WAIT.
func TestTheKernelsViewAgreesWithOthers(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.tcp_rfc1337=1", "net.ipv4.tcp_tw_reuse=0") {
		return
	}
	r := staged(t, Short, "--count 300 --connections 16")
	if len(r.Kernel) != 1 || r.Kernel[0].Of != "both" {
		t.Fatalf("views %+v", r.Kernel)
	}
	v := r.Kernel[0]
	for by, others := range witness.Counters(t) {
		for _, group := range []string{"Tcp", "TcpExt", "Ip", "IpExt"} {
			for name, n := range v.Counters[group] {
				if got, ok := others[group+name]; !ok || got != n {
					t.Errorf("%s %s grew by %d, and %s has %d (%v)", group, name, n, by, got, ok)
				}
			}
			for name, n := range others {
				short, ours := strings.CutPrefix(name, group)
				if _, seen := v.Counters[group][short]; ours && n != 0 && !seen && !strings.HasPrefix(short, "Ext") && !constant[name] {
					t.Errorf("%s has %s %d, which the view leaves out", by, name, n)
				}
			}
		}
	}
	if n := r.Counter("Tcp", "ActiveOpens"); n != 300 {
		t.Errorf("%d ActiveOpens", n)
	}
	tw := v.Timeline.Sockets["tw"]
	census := v.Timeline.Sockets["client.TIME_WAIT"]
	if tw[len(tw)-1] != 300 || census[len(census)-1] != 300 {
		t.Errorf("TIME_WAIT: sockstat %d, census %d; want 300 of both", tw[len(tw)-1], census[len(census)-1])
	}
	for by, n := range witness.TimeWait(t) {
		if n != 300 {
			t.Errorf("%s has %d TIME_WAIT, want 300", by, n)
		}
	}
	// The growths of the timeline add up to what moved.
	for group, names := range v.Counters {
		for name, n := range names {
			sum := int64(0)
			for _, k := range v.Timeline.Counters[group+"."+name] {
				sum += k
			}
			if sum != n {
				t.Errorf("%s.%s: the timeline adds up to %d of %d", group, name, sum, n)
			}
		}
	}
	if c := v.Cost; c.Samples < 2 || c.Censuses < 2 || c.CensusNS <= 0 || c.CPUShare <= 0 || len(v.Timeline.T) != c.Samples {
		t.Errorf("%+v, %d rows", c, len(v.Timeline.T))
	}
}

// constant are values that stand among the counters and never count.
var constant = map[string]bool{
	"TcpRtoAlgorithm": true, "TcpRtoMin": true, "TcpRtoMax": true, "TcpMaxConn": true, "TcpCurrEstab": true,
	"IpForwarding": true, "IpDefaultTTL": true,
}

func TestNobodyWatchesWhereNobodyIsToWatch(t *testing.T) {
	r := staged(t, Short, "--count 20 --observe=false")
	if r.Kernel != nil || r.Histograms[metrics.NamespaceTimeWait].Count != 0 {
		t.Errorf("%+v", r.Kernel)
	}
}

// Tracepoints see every connection of the run, and no other. Where this process may not ask
// them, the run says so.
func TestTraceAgreesWithTheRun(t *testing.T) {
	r := staged(t, Short, "--bpf --count 500 --connections 16")
	if r.Flagged("untraced") {
		alone.Needed(t, fmt.Sprintf("the kernel's tracepoints: %+v", r.Flags))
	}
	told := r.Kernel[0].Trace
	for _, change := range []string{
		"client CLOSE SYN_SENT", "client SYN_SENT ESTABLISHED", "client ESTABLISHED FIN_WAIT1",
		"server SYN_RECV ESTABLISHED", "server ESTABLISHED CLOSE_WAIT", "server CLOSE_WAIT LAST_ACK",
	} {
		if told.Transitions[change] != 500 {
			t.Errorf("%s %d times of 500", change, told.Transitions[change])
		}
	}
	for _, name := range []string{metrics.HandshakeClient, metrics.HandshakeServer} {
		if n := r.Histograms[name].Count; n != 500 {
			t.Errorf("%s: %d of 500", name, n)
		}
	}
	// connect() contains the handshake over loopback.
	if kernel, call := r.Histograms[metrics.HandshakeClient].P50, r.Histograms[metrics.ConnectCall].P50; kernel >= call {
		t.Errorf("the handshake took %d ns, and connect() around it %d", kernel, call)
	}
}

// A population over several processes is seen as a whole, and its heartbeats' server too.
func TestAPopulationIsCounted(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	r := staged(t, Long, "--connections 200 --hold 3s --heartbeat 100ms")
	for _, side := range []string{"client", "server"} {
		if got := slices.Max(append([]int64{0}, r.Kernel[0].Timeline.Sockets[side+".ESTABLISHED"]...)); got != 200 {
			t.Errorf("%s: up to %d established, want 200", side, got)
		}
	}
	if s := r.Kernel[0].Spaces; s == nil || s.Count != 200 || s.Peak != 1 { // a source address for each
		t.Errorf("%+v", s)
	}
	if got := fmt.Sprint(r.Kernel[0].Listeners); !strings.Contains(got, "127.0.0.1:") {
		t.Error(got)
	}
}
