package diagnose

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tcpbench/metrics"
)

// Load is what a run asks of a host, as far as it is known before the run.
type Load struct {
	Rate     float64       // most connections opened per second; zero if unknown, as in a closed loop
	Open     int           // connections open at once; zero in an open loop, where it is unknown
	Count    uint64        // connections in all; zero if time bounds the run
	Duration time.Duration // of the run with its warm-up; zero if Count bounds it
	Message  int64         // the larger of request and response, in bytes
	Burst    int           // connections issued at one instant
	// Spaces is the number of pairs of a source address and a destination, Ports that of the local
	// ports of each.
	Spaces, Ports int
	// Chosen is the range of IP_LOCAL_PORT_RANGE; zero without it.
	Chosen [2]int
	// ClientWaits tells that TIME_WAIT stays with the client, ServerWaits with a server on this host.
	ClientWaits, ServerWaits bool
	// Loopback tells that all targets are loopback addresses, Loopback4 that they are IPv4 ones, so
	// that each of 127.0.0.0/8 can be a source.
	Loopback, Loopback4 bool
	// Own tells that the server is this run's own. Then Queues is the number of its listening sockets
	// and Backlog that of listen(), zero for the largest.
	Own             bool
	Queues, Backlog int
	PerProcess      int // connections that one process can have
}

const (
	timeWaitS = 60 // TCP_TIMEWAIT_LEN, include/net/tcp.h
	// pairMemory is the kernel memory in bytes of an idle connection with both ends on this host; one
	// end takes half of it (docs/performance.md).
	pairMemory = 10_400
)

// Forecast computes from a host's settings what will go wrong with a load.
func Forecast(h *metrics.Host, l Load) []metrics.Finding {
	var all []metrics.Finding
	for _, look := range []func(*metrics.Host, *Load) *metrics.Finding{
		portsWillRunOut, rangeIsIgnored, descriptorsWillRunOut, memoryWillRunOut, buffersWillRunOut, timeWaitWillFill, queueWillOverflow,
		backlogIsCut, trackingWillFill,
	} {
		if f := look(h, &l); f != nil {
			all = append(all, *f)
		}
	}
	return all
}

// sysctl reads the i-th number of a setting.
func sysctl(h *metrics.Host, name string, i int) (n int64, ok bool) {
	fields := strings.Fields(h.Sysctls[name])
	if i >= len(fields) {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[i], 10, 64)
	return n, err == nil
}

// cycle is the time in seconds for which the client's TIME_WAIT keeps a port from connect(), and
// whether reuse ends it.
func cycle(h *metrics.Host, loopback bool) (s float64, reuse bool) {
	mode, _ := sysctl(h, "net.ipv4.tcp_tw_reuse", 0)
	stamps, known := sysctl(h, "net.ipv4.tcp_timestamps", 0)
	if known && stamps == 0 || mode != 1 && (mode != 2 || !loopback) {
		return timeWaitS, false
	}
	if ms, ok := sysctl(h, "net.ipv4.tcp_tw_reuse_delay", 0); ok {
		return float64(ms) / 1000, true
	}
	return 1, true // older kernels have a constant
}

// fastLoop is a rate that every machine reaches in a closed loop.
const fastLoop = 5000

func portsWillRunOut(h *metrics.Host, l *Load) *metrics.Finding {
	total := float64(l.Spaces) * float64(l.Ports)
	if total == 0 {
		return nil
	}
	f := &metrics.Finding{
		Name: PortsExhausted, Mechanism: portsMechanism, Remedies: portsRemedies(l.Loopback4),
		Evidence: []metrics.Value{count("four-tuple spaces", uint64(l.Spaces)), count("ports of each", uint64(l.Ports))},
	}
	if float64(l.Open) > total {
		f.What = fmt.Sprintf("%s connections at once need as many ports, and there are %s: %s with %s.",
			number(l.Open), number(int64(total)), spaces(l.Spaces), ports(l.Ports))
		return f
	}
	wait, reuse := cycle(h, l.Loopback)
	if !l.ClientWaits || wait == 0 || float64(l.Count) > 0 && float64(l.Count) <= total {
		return nil
	}
	sustained := total / wait
	why := "TIME_WAIT"
	if reuse {
		why = "net.ipv4.tcp_tw_reuse"
	}
	how := fmt.Sprintf("%s with %s, each taken for %g s (%s), allow %s/s", spaces(l.Spaces), ports(l.Ports), wait, why, number(int64(sustained)))
	f.Evidence = append(f.Evidence, metrics.Value{Name: "sustained rate", Value: sustained, Unit: "1/s"})
	switch {
	case l.Rate == 0 && sustained < fastLoop:
		f.What = fmt.Sprintf("A closed loop that makes more than that runs out of ports, after %s connections: %s.", number(int64(total)), how)
		return f
	case l.Rate > sustained:
		at := total / l.Rate
		if l.Duration > 0 && at > l.Duration.Seconds() {
			return nil
		}
		f.What = fmt.Sprintf("At %s/s the ports run out after %s: %s.", number(int64(l.Rate)), seconds(at), how)
		f.Evidence = append(f.Evidence, metrics.Value{Name: timeToExhaustion, Value: at, Unit: "s"})
		return f
	}
	return nil
}

// rangeIsIgnored: an end of IP_LOCAL_PORT_RANGE lies outside of the host's range.
func rangeIsIgnored(h *metrics.Host, l *Load) *metrics.Finding {
	low, known := sysctl(h, "net.ipv4.ip_local_port_range", 0)
	high, _ := sysctl(h, "net.ipv4.ip_local_port_range", 1)
	outside := func(p int) bool { return int64(p) < low || int64(p) > high }
	if !known || l.Chosen == [2]int{} || !outside(l.Chosen[0]) && !outside(l.Chosen[1]) {
		return nil
	}
	return &metrics.Finding{
		Name: "local-ports-ignored",
		What: fmt.Sprintf("--local-ports %d-%d does not lie within net.ipv4.ip_local_port_range (%d to %d): connect() chooses from %s.",
			l.Chosen[0], l.Chosen[1], low, high, ports(l.Ports)),
		Evidence:  []metrics.Value{count("ports of each", uint64(l.Ports))},
		Mechanism: "IP_LOCAL_PORT_RANGE can only narrow the range of the namespace. The kernel ignores an end outside of it, without an error (inet_sk_get_local_port_range).",
		Remedies: []metrics.Remedy{
			{Do: "a range within that of the namespace", Cost: "none"},
			{Do: "--explicit-ports, with which each port is bound", Cost: "what the kernel's own choice costs is not measured"},
		},
	}
}

func spaces(n int) string {
	if n == 1 {
		return "one pair of source and destination"
	}
	return number(n) + " pairs of source and destination"
}

func ports(n int) string {
	if n == 1 {
		return "1 port"
	}
	return number(n) + " ports"
}

// mostProcesses is the most that a run starts on a side.
const mostProcesses = 64

func descriptorsWillRunOut(h *metrics.Host, l *Load) *metrics.Finding {
	system, ok := sysctl(h, "fs.file-max", 0)
	both := int64(l.Open)
	if l.Own {
		both *= 2
	}
	f := &metrics.Finding{Name: Descriptors, Remedies: descriptorRemedies(),
		Mechanism: "Every connection is a file descriptor: of a process (RLIMIT_NOFILE) and of the system (fs.file-max)."}
	switch {
	case l.PerProcess > 0 && l.Open > l.PerProcess*mostProcesses && !l.Own:
		f.What = fmt.Sprintf("%s connections need more than %d processes of %s descriptors.", number(l.Open), mostProcesses, number(l.PerProcess))
		f.Evidence = []metrics.Value{count("connections of a process", uint64(l.PerProcess))}
	case ok && both > system:
		f.What = fmt.Sprintf("%s connections take %s descriptors, and the system has %s (fs.file-max).", number(l.Open), number(both), number(system))
		f.Evidence = []metrics.Value{count("fs.file-max", uint64(system))}
	default:
		return nil
	}
	return f
}

func memoryWillRunOut(h *metrics.Host, l *Load) *metrics.Finding {
	need := float64(l.Open) * pairMemory
	if !l.Own {
		need /= 2
	}
	if h.MemoryByte == 0 || need < 0.9*float64(h.MemoryByte) {
		return nil
	}
	return &metrics.Finding{
		Name: Memory,
		What: fmt.Sprintf("%s connections take about %.3g GiB of kernel memory, and this host has %.3g GiB.", number(l.Open), need/(1<<30), float64(h.MemoryByte)/(1<<30)),
		Evidence: []metrics.Value{
			count("memory", h.MemoryByte), {Name: "memory needed", Value: need},
		},
		Mechanism: "An idle connection is two or three kernel objects at each end, 5 KB together, without any data in its buffers.",
		Remedies:  []metrics.Remedy{{Do: "fewer --connections, or a server on another machine", Cost: "none, or a machine"}},
	}
}

// page is the unit of net.ipv4.tcp_mem.
const page = 4096

// buffersWillRunOut: the messages of all connections at once take more memory than TCP may have. Each
// takes a page at least.
func buffersWillRunOut(h *metrics.Host, l *Load) *metrics.Finding {
	most, ok := sysctl(h, "net.ipv4.tcp_mem", 2)
	// Small messages are not all in flight at once.
	if !ok || l.Message <= page {
		return nil
	}
	need := int64(l.Open) * ((l.Message + page - 1) / page)
	if need <= most {
		return nil
	}
	return &metrics.Finding{
		Name:     "tcp-memory",
		What:     fmt.Sprintf("Messages of %s bytes on %s connections are up to %s pages, and TCP may keep %s (net.ipv4.tcp_mem).", number(l.Message), number(l.Open), number(need), number(most)),
		Evidence: []metrics.Value{count("net.ipv4.tcp_mem", uint64(most)), count("pages under way", uint64(need))},
		Mechanism: "Above the second number of net.ipv4.tcp_mem the kernel shrinks windows, above the third it drops what arrives " +
			"(sk_forced_mem_schedule, tcp_prune_queue): transfers stall, and segments are sent again.",
		Remedies: []metrics.Remedy{
			{Do: "raise net.ipv4.tcp_mem, of the whole machine", Cost: "memory that nothing else can have"},
			{Do: "smaller buffers: net.ipv4.tcp_rmem and tcp_wmem", Cost: "less throughput on long paths"},
		},
	}
}

func timeWaitWillFill(h *metrics.Host, l *Load) *metrics.Finding {
	most, ok := sysctl(h, "net.ipv4.tcp_max_tw_buckets", 0)
	if !ok || !l.ClientWaits && !l.ServerWaits || l.Rate == 0 {
		return nil
	}
	// There are at most as many as connections, and as those of one minute.
	population := l.Rate * math.Min(timeWaitS, secondsOf(l))
	if l.Count > 0 {
		population = math.Min(population, float64(l.Count))
	}
	if l.ClientWaits && l.Spaces > 0 {
		population = math.Min(population, float64(l.Spaces)*float64(l.Ports))
	}
	if population <= float64(most) {
		return nil
	}
	return &metrics.Finding{
		Name:     TimeWaitTable,
		What:     fmt.Sprintf("%s closes per second fill the table of TIME_WAIT (net.ipv4.tcp_max_tw_buckets = %s) after %s.", number(int64(l.Rate)), number(most), seconds(float64(most)/l.Rate)),
		Evidence: []metrics.Value{count("net.ipv4.tcp_max_tw_buckets", uint64(most)), {Name: "time_to_overflow", Value: float64(most) / l.Rate, Unit: "s"}},
		Mechanism: "If the namespace has as many as that, a socket that should enter TIME_WAIT closes at once (tcp_time_wait): " +
			"its port is free early, and late segments may meet a new connection.",
		Remedies: timeWaitTableRemedies(),
	}
}

func secondsOf(l *Load) float64 {
	if l.Duration == 0 {
		return math.Inf(1)
	}
	return l.Duration.Seconds()
}

// effectiveBacklog is the backlog that the kernel uses (__sys_listen_socket).
func effectiveBacklog(h *metrics.Host, backlog int) (limit int64, ok bool) {
	somaxconn, ok := sysctl(h, "net.core.somaxconn", 0)
	if backlog > 0 {
		somaxconn = min(somaxconn, int64(backlog))
	}
	return somaxconn, ok
}

func queueWillOverflow(h *metrics.Host, l *Load) *metrics.Finding {
	limit, ok := effectiveBacklog(h, l.Backlog)
	if !ok || !l.Own || l.Burst == 0 || int64(l.Burst) <= int64(l.Queues)*(limit+1) {
		return nil
	}
	return &metrics.Finding{
		Name: AcceptQueue,
		What: fmt.Sprintf("A burst of %s does not fit into the accept queues: %s of %s connections each. What the server has not accepted by then is dropped.",
			number(l.Burst), number(l.Queues), number(limit+1)),
		Evidence:  []metrics.Value{count("queues", uint64(l.Queues)), count("queue limit", uint64(limit)), count("burst", uint64(l.Burst))},
		Mechanism: "A listening socket holds min(backlog, net.core.somaxconn) + 1 connections that nobody has accepted (sk_acceptq_is_full); SYNs beyond are dropped and sent again after a second.",
		Remedies:  queueRemedies(h.Sysctls["net.core.somaxconn"]),
	}
}

func backlogIsCut(h *metrics.Host, l *Load) *metrics.Finding {
	somaxconn, ok := sysctl(h, "net.core.somaxconn", 0)
	if !ok || !l.Own || int64(l.Backlog) <= somaxconn {
		return nil
	}
	return &metrics.Finding{
		Name:      "backlog-cut",
		What:      fmt.Sprintf("A backlog of %s is cut to %s (net.core.somaxconn).", number(l.Backlog), number(somaxconn)),
		Evidence:  []metrics.Value{count("backlog", uint64(l.Backlog)), count("net.core.somaxconn", uint64(somaxconn))},
		Mechanism: "listen() uses the smaller of the two, without an error (__sys_listen_socket).",
		Remedies:  []metrics.Remedy{{Do: fmt.Sprintf("sysctl -w net.core.somaxconn=%d", l.Backlog), Cost: "connections may wait longer, in more memory"}},
	}
}

// trackingWillFill: connection tracking gets full during the run.
func trackingWillFill(h *metrics.Host, l *Load) *metrics.Finding {
	most, ok := sysctl(h, "net.netfilter.nf_conntrack_max", 0)
	// If rules track connections, this host has some.
	if count, known := sysctl(h, "net.netfilter.nf_conntrack_count", 0); !ok || most == 0 || known && count == 0 {
		return nil
	}
	stay, ok := sysctl(h, "net.netfilter.nf_conntrack_tcp_timeout_time_wait", 0)
	if !ok {
		stay = 120
	}
	population := math.Max(float64(l.Open), l.Rate*math.Min(float64(stay), secondsOf(l)))
	if population <= float64(most) {
		return nil
	}
	return &metrics.Finding{
		Name:      "conntrack-table",
		What:      fmt.Sprintf("Up to %s connections would be tracked, and the table holds %s (net.netfilter.nf_conntrack_max), if rules here track them.", number(int64(population)), number(most)),
		Evidence:  []metrics.Value{count("net.netfilter.nf_conntrack_max", uint64(most)), {Name: "tracked", Value: population}},
		Mechanism: "Netfilter keeps each connection for net.netfilter.nf_conntrack_tcp_timeout_time_wait after its end; with a full table it drops the packets of new ones (nf_conntrack_alloc).",
		Remedies: []metrics.Remedy{
			{Do: "do not track these connections (nft: notrack in a prerouting and an output chain of priority raw)", Cost: "no stateful rules and no NAT for them"},
			{Do: "raise net.netfilter.nf_conntrack_max", Cost: "0.3 KB for each"},
		},
	}
}
