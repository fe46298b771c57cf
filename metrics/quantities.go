package metrics

import (
	"slices"
	"strings"
)

// reading reads a number from a result; it is not ok if the result has no sample.
type reading = func(*Result) (value float64, ok bool)

// measure is a quantity of how good a run was, or of what it did; evidence is one that explains others.
func measure(name, unit string, better Direction, of reading, meaning string) Quantity {
	return Quantity{Name: name, Unit: unit, Better: better, Of: of, Meaning: meaning}
}

func evidence(name, unit string, of reading, meaning string) Quantity {
	return Quantity{Name: name, Unit: unit, Evidence: true, Of: of, Meaning: meaning}
}

// count reads a number that every result has.
func count(read func(*Result) uint64) reading {
	return func(r *Result) (float64, bool) { return float64(read(r)), true }
}

// part reads from a part of a result that may be nil.
func part[P any](find func(*Result) *P, read func(*P) (float64, bool)) reading {
	return func(r *Result) (float64, bool) {
		if p := find(r); p != nil {
			return read(p)
		}
		return 0, false
	}
}

// positive has a sample if the number is above zero.
func positive(x float64) (float64, bool) { return x, x > 0 }

func ofPopulation(read func(*Population) (float64, bool)) reading {
	return part(func(r *Result) *Population { return r.Population }, read)
}

func ofBeats(read func(*Beats) uint64) reading {
	return part(func(r *Result) *Beats { return r.Beats }, func(b *Beats) (float64, bool) { return float64(read(b)), true })
}

func ofServer(read func(*ServerReport) uint64) reading {
	return part(func(r *Result) *ServerReport { return r.Server }, func(s *ServerReport) (float64, bool) { return float64(read(s)), true })
}

// ofClientCPU and ofServerCPU turn microseconds into nanoseconds.
func ofClientCPU(us func(*Usage) float64) reading {
	return part(func(r *Result) *Usage { return r.CPU.Client }, func(u *Usage) (float64, bool) { return positive(us(u) * 1e3) })
}

func ofServerCPU(us func(*Usage) float64) reading {
	return part(func(r *Result) *Usage { return r.CPU.Server }, func(u *Usage) (float64, bool) { return positive(us(u) * 1e3) })
}

func perConnection(u *Usage) float64 { return u.PerConnection }
func perOpened(u *Usage) float64     { return u.PerOpened }
func perHeartbeat(u *Usage) float64  { return u.PerHeartbeat }

// ofRun are the quantities of a run and its connections.
var ofRun = []Quantity{
	measure("attempted", "", "", count(func(r *Result) uint64 { return r.Attempted }), "connections that were attempted"),
	measure("succeeded", "", "", count(func(r *Result) uint64 { return r.Succeeded }), "connections that did all that was asked of them"),
	measure("failed", "", Lower, count(func(r *Result) uint64 { return r.TotalFailed() }), "connections that failed"),
	measure("open", "", "", count(func(r *Result) uint64 { return r.Open }), "connections that had not ended when the run did"),
	measure("missed", "", Lower, count(func(r *Result) uint64 { return r.Missed }), "arrivals that were due and could not start in time"),
	measure("checked_bytes", "", "", count(func(r *Result) uint64 { return r.CheckedBytes }), "bytes of responses that `check-content` found right"),
	measure("rate", PerSecond, Higher, func(r *Result) (float64, bool) { return r.Rate, r.Rate > 0 || r.ElapsedS > 0 && r.Population == nil },
		"connections that succeeded. A held population has no rate: its connections end after the measured time"),
	measure("rate_offered", PerSecond, "", func(r *Result) (float64, bool) { return r.RateOffered, r.ElapsedS > 0 }, "connections that were started"),
	measure("rate_intended", PerSecond, "", part(func(r *Result) *float64 { return r.RateIntended }, func(x *float64) (float64, bool) { return *x, true }),
		"what the schedule of an open loop asked for"),
	measure("elapsed", Nanoseconds, "", func(r *Result) (float64, bool) { return r.ElapsedS * 1e9, true }, "the measured time"),
	evidence("freeze_late", Nanoseconds, count(func(r *Result) uint64 { return uint64(max(0, r.FreezeLateNS)) }), "by how much the processes that a phase stops were stopped late, at most"),
	measure("held", "", "", ofPopulation(func(p *Population) (float64, bool) { return float64(p.Held), true }),
		"of a held population: connections that were established at the end"),
	measure("ramp", Nanoseconds, Lower, ofPopulation(func(p *Population) (float64, bool) { return positive(p.RampS * 1e9) }),
		"of a held population: how long it took to open"),
	measure("rate_opened", PerSecond, Higher, ofPopulation(func(p *Population) (float64, bool) { return p.OpenedPerS, p.RampS > 0 }),
		"of a held population: connections opened during the ramp"),
	measure("rate_heartbeats", PerSecond, Higher, ofPopulation(func(p *Population) (float64, bool) { return positive(p.HeartbeatsPerS) }),
		"of a held population: heartbeats while it was kept"),
	measure("beats.sent", "", "", ofBeats(func(b *Beats) uint64 { return b.Sent }), "heartbeats sent"),
	measure("beats.answered", "", "", ofBeats(func(b *Beats) uint64 { return b.Answered }), "heartbeats answered"),
	measure("beats.missed", "", Lower, ofBeats(func(b *Beats) uint64 { return b.Missed }), "heartbeats without an answer, and those that the client skipped because it was late"),
	measure("cpu.client", Nanoseconds, Lower, ofClientCPU(perConnection), "processor time of the client for each connection"),
	measure("cpu.server", Nanoseconds, Lower, ofServerCPU(perConnection), "processor time of the server for each connection"),
	measure("cpu.client_per_opened", Nanoseconds, Lower, ofClientCPU(perOpened), "of a held population: the client's for each connection of the ramp"),
	measure("cpu.server_per_opened", Nanoseconds, Lower, ofServerCPU(perOpened), "of a held population: the server's for each connection of the ramp"),
	measure("cpu.client_per_heartbeat", Nanoseconds, Lower, ofClientCPU(perHeartbeat), "of a held population: the client's for each heartbeat after the ramp"),
	measure("cpu.server_per_heartbeat", Nanoseconds, Lower, ofServerCPU(perHeartbeat), "of a held population: the server's for each heartbeat after the ramp"),
	evidence("cpu.busy", Share, func(r *Result) (float64, bool) { return r.CPU.HostBusy, true }, "share of all processors that was not idle"),
	evidence("cpu.softirq", Share, func(r *Result) (float64, bool) { return r.CPU.HostSoftIRQ, true }, "share of all processors that soft interrupts took on nobody's behalf"),
	evidence("cpu.steal", Share, func(r *Result) (float64, bool) { return r.CPU.HostSteal, true }, "share of all processors that the hypervisor took"),
	measure("server.accepted", "", "", ofServer(func(s *ServerReport) uint64 { return s.Accepted }), "connections that the run's own server accepted in the measured time"),
	measure("server.open", "", "", ofServer(func(s *ServerReport) uint64 { return s.Open }), "connections that it had open at the end"),
	measure("server.exchanges", "", "", ofServer(func(s *ServerReport) uint64 { return s.Exchanges }), "exchanges that it finished in the measured time"),
	evidence("local_ports", "", func(r *Result) (float64, bool) { return positive(float64(r.Host.LocalPorts())) },
		"local ports that the client can take towards one destination"),
	evidence("connect.steps", "", func(r *Result) (float64, bool) { seen, _, ok := connectSteps(r); return float64(seen), ok },
		"at how many of the times at which the client's kernel sends a lost SYN again some connections were established. "+
			"No sample if `connect.lateness` is more than half a second"),
	evidence("connect.off_step", "", func(r *Result) (float64, bool) { _, off, ok := connectSteps(r); return float64(off), ok },
		"connections that were established neither at such a time nor at once"),
	evidence("connect.lateness", Nanoseconds, func(r *Result) (float64, bool) {
		h := r.Histograms[Connect]
		return float64(lateness(r, &h)), h.Count > 0
	}, "by how much this machine may have delayed a connect"),
}

// ofNamespaces are the quantities of what the kernel showed, and of the lab's link.
var ofNamespaces = []Quantity{
	evidence("TIME_WAIT.max", "", mostSockets("TIME_WAIT"), "the largest number of the run's own sockets in TIME_WAIT, on the side that had more"),
	evidence("FIN_WAIT2.max", "", mostSockets("FIN_WAIT2"), "likewise, in FIN_WAIT_2"),
	evidence("accept_queue.peak", "", ofQueues(func(q *Queue) float64 { return float64(q.Peak) }), "most connections that waited in one of the run's own listening sockets"),
	evidence("accept_queue.limit", "", ofQueues(func(q *Queue) float64 { return float64(q.Limit) }), "its limit: one more fits in"),
	evidence("accept_queue.drops", "", ofQueues(func(q *Queue) float64 { return float64(q.Drops) }), "SYNs and last ACKs that the sockets of one address dropped"),
	evidence("lab.lost", "", func(r *Result) (n float64, ok bool) {
		for _, l := range r.links() {
			n += float64(l.Lost)
		}
		return n, r.Lab != nil
	}, "packets that the lab's link lost on purpose"),
	evidence("lab.data_lost", "", ofData(func(d *LabData) uint64 { return d.Lost }),
		"with `sequences: true` under `lab`, in the directions that lose packets: TCP segments with data that the link lost"),
	evidence("lab.data_again", "", ofData(func(d *LabData) uint64 { return d.Again }), "segments with a sequence number that had come before"),
	evidence("lab.data_bytes", "", ofData(func(d *LabData) uint64 { return d.Bytes }), "different sequence numbers that came"),
	evidence("lab.data_missing", "", ofData(func(d *LabData) uint64 { return d.Missing }), "how many of these never passed"),
}

// CounterGroups are the kernel's groups of counters, in the order in which they are shown.
var CounterGroups = []string{"Tcp", "TcpExt", "Ip", "IpExt"}

// TCPStates are the states of a socket, in the order in which a connection has them.
var TCPStates = []string{
	"LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSING", "TIME_WAIT",
	"CLOSE_WAIT", "LAST_ACK", "CLOSE",
}

// counterQuantity is by how much a counter of the kernel moved.
func counterQuantity(group, name string) Quantity {
	return evidence(group+"."+name, "", func(r *Result) (float64, bool) {
		return float64(r.Counter(group, name)), len(r.namespaces()) > 0
	}, "")
}

// ofSockets are the numbers of sockets of a side in a state, at the most and at the end.
func ofSockets() (all []Quantity) {
	for _, side := range []string{"client", "server"} {
		for _, state := range TCPStates {
			column := side + "." + state
			all = append(all,
				evidence(column+".max", "", ofColumn(side, column, func(c []int64) int64 { return slices.Max(c) }), ""),
				evidence(column+".last", "", ofColumn(side, column, func(c []int64) int64 { return c[len(c)-1] }), ""))
		}
	}
	return all
}

// ofColumn reads the largest number that the namespaces of a side have by their timelines. A
// column is absent if there never was such a socket.
func ofColumn(side, name string, read func([]int64) int64) reading {
	return func(r *Result) (most float64, seen bool) {
		for _, n := range r.namespaces() {
			if n.Of != side && n.Of != "both" {
				continue
			}
			seen = true
			if column := n.Timeline.Sockets[name]; len(column) > 0 {
				most = max(most, float64(read(column)))
			}
		}
		return most, seen
	}
}

// mostSockets is the largest number of the run's own sockets in a state, of the side with more.
// What others on the host have is not counted: tw of sockstat is the whole namespace's.
func mostSockets(state string) reading {
	return func(r *Result) (most float64, seen bool) {
		for _, v := range r.namespaces() {
			for _, side := range []string{"client", "server"} {
				n, ok := v.Peak(side, state)
				most, seen = max(most, float64(n)), seen || ok
			}
		}
		return most, seen
	}
}

// ofQueues is the largest of all listening addresses.
func ofQueues(read func(*Queue) float64) reading {
	return func(r *Result) (most float64, ok bool) {
		for _, n := range r.namespaces() {
			for i := range n.Listeners {
				most, ok = max(most, read(&n.Listeners[i])), true
			}
		}
		return most, ok
	}
}

// links are the directions of the lab's link that were not perfect.
func (r *Result) links() (all []*LabLink) {
	if r.Lab != nil {
		for _, l := range []*LabLink{r.Lab.ToServer, r.Lab.ToClient} {
			if l != nil {
				all = append(all, l)
			}
		}
	}
	return all
}

// ofData is a sum over the directions of the link that lose packets.
func ofData(read func(*LabData) uint64) reading {
	return func(r *Result) (n float64, ok bool) {
		for _, l := range r.links() {
			loses := slices.ContainsFunc(strings.Split(l.Impairment, ","), func(part string) bool {
				verb, _, _ := strings.Cut(part, "=")
				return verb == "loss" || verb == "every" || verb == "drop"
			})
			if l.Data != nil && loses {
				n, ok = n+float64(read(l.Data)), true
			}
		}
		return n, ok
	}
}
