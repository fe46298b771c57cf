package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Schema names the form of a result document. It changes when a field changes its
// meaning or goes; a new field alone does not change it.
const Schema = "tcpbench.result/1"

// Result is the document of one run. docs/result.md describes every field; all
// views are drawn from it alone.
type Result struct {
	Schema   string   `json:"schema"`
	Tool     Tool     `json:"tool"`
	Host     Host     `json:"host"`
	Scenario Scenario `json:"scenario"`
	// Lab is where the run took place, nil on the host itself. Host has the settings of the
	// lab's client then.
	Lab *Lab `json:"lab,omitempty"`
	// Loopback is present where a scenario that is made for a lab was shown without one.
	Loopback *Loopback `json:"loopback,omitempty"`
	// Command is the command line that made the result.
	Command []string  `json:"command"`
	Started time.Time `json:"started"`
	// ElapsedS is the measured time in seconds: from the first arrival to the
	// last one's due time, or to the last end where the run was bounded by a count.
	// Warm-up and drain are outside.
	ElapsedS float64 `json:"elapsed_s"`
	Tally
	// Rate is the number of attempts per second that succeeded within ElapsedS, whenever
	// they began.
	Rate float64 `json:"rate"`
	// RateIntended is what the schedule asked for, absent in a closed loop.
	RateIntended *float64 `json:"rate_intended,omitempty"`
	// RateOffered is the number of attempts per second that were started.
	RateOffered float64              `json:"rate_offered"`
	Histograms  map[string]Histogram `json:"histograms"`
	Series      []Row                `json:"series"`
	// Population is present where connections were held.
	Population *Population `json:"population,omitempty"`
	// Beats is present where there were heartbeats.
	Beats *Beats `json:"heartbeats,omitempty"`
	// Bursts are the instants of a burst run, in order.
	Bursts []BurstRow `json:"bursts,omitempty"`
	// FreezeLateNS is how late the processes that a phase stops were stopped, at most.
	FreezeLateNS int64 `json:"freeze_late_ns,omitempty"`
	// Said is what the server answered on connections that failed, if it said anything.
	Said *Said `json:"server_said,omitempty"`
	// Kernel is what the kernel showed, a view for each network namespace of the run.
	Kernel []Namespace `json:"kernel,omitempty"`
	// Exhaustion is the first connect() that found no free four-tuple, if one did.
	Exhaustion *Exhaustion `json:"exhaustion,omitempty"`
	// TCP is what the client's kernel said of a sample of the connections.
	TCP *TCPSample `json:"tcp_info,omitempty"`
	// MPTCP is present where the client had sockets of Multipath TCP.
	MPTCP  *MPTCP        `json:"mptcp,omitempty"`
	CPU    CPU           `json:"cpu"`
	Server *ServerReport `json:"server,omitempty"`
	// Forecast is what the settings of the host let expect before the run.
	Forecast []Finding `json:"forecast,omitempty"`
	// Findings are what happened, as the rest of the document shows.
	Findings []Finding `json:"findings,omitempty"`
	Checks   []Check   `json:"checks"`
	Flags    []Flag    `json:"flags"`
	// Expectations are present where the scenario or the command line has some.
	Expectations []Expectation `json:"expectations,omitempty"`
	// Experiment is present where single connections were looked at, in place of a load.
	Experiment *Experiment `json:"experiment,omitempty"`
	// Verdict is present where the scenario claims something.
	Verdict *Verdict `json:"verdict,omitempty"`
	// Phases are present where a scenario has several: each is a result of its own, and
	// the one around them is their sum.
	Phases []Phase `json:"phases,omitempty"`
}

// Phase is one of several runs, one after the other.
type Phase struct {
	Name string `json:"phase"`
	// Why is what the phase is to show.
	Why string `json:"why,omitempty"`
	// Costs is the price of what the phase does.
	Costs string `json:"costs,omitempty"`
	Result
}

// Tool is the program that made a result.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Go      string `json:"go"`
}

// Host is the machine of a run, as far as it decides the numbers.
type Host struct {
	Hostname   string     `json:"hostname"`
	OS         string     `json:"os"`
	Kernel     string     `json:"kernel"`
	Arch       string     `json:"arch"`
	CPUModel   string     `json:"cpu_model"`
	CPUs       int        `json:"cpus"`
	MemoryByte uint64     `json:"memory_bytes"`
	Clock      string     `json:"clocksource"`
	Hypervisor string     `json:"hypervisor,omitempty"`
	Load       [3]float64 `json:"load_before"` // load averages over 1, 5 and 15 minutes
	// LoadAfter are those at the end of the run, which is then part of them.
	LoadAfter [3]float64 `json:"load_after"`
	// NUMANodes is the number of memory nodes; zero where it is not known.
	NUMANodes int `json:"numa_nodes,omitempty"`
	// SMT tells whether processors share cores: on, off, or empty where it is not known.
	SMT string `json:"smt,omitempty"`
	// Governor chooses the processors' clock rate; empty where nothing does.
	Governor string `json:"governor,omitempty"`
	// Mitigations are what the kernel does against faults of the processor, those that
	// affect it.
	Mitigations map[string]string `json:"mitigations,omitempty"`
	// Interfaces are those by which targets elsewhere are reached.
	Interfaces []Interface       `json:"interfaces,omitempty"`
	Sysctls    map[string]string `json:"sysctls"`
	// Listening are the ports that sockets listen on in the client's namespace, as in
	// 22,9000-9063.
	Listening string            `json:"listening_ports,omitempty"`
	Limits    map[string]string `json:"limits"`
}

// Interface is a network device.
type Interface struct {
	Name   string `json:"name"`
	Driver string `json:"driver,omitempty"`
	MTU    int    `json:"mtu"`
	// Speed is in Mbit/s, zero where the device has none.
	Speed    int `json:"speed_mbit"`
	RxQueues int `json:"rx_queues"`
	TxQueues int `json:"tx_queues"`
	// Offloads that are on: rx-checksum, tx-checksum, tso, gso, gro, lro.
	Offloads []string `json:"offloads"`
}

// Scenario is what the run did, in the words of its flags, with every default
// filled in: enough to run it again.
type Scenario struct {
	Name      string            `json:"name"`
	Arrival   string            `json:"arrival"`   // closed, constant, poisson
	Lifecycle string            `json:"lifecycle"` // one line for people
	Close     string            `json:"close"`     // who closes and how: client-fin, server-rst, …
	Target    []string          `json:"target"`
	Sources   []string          `json:"sources"` // as planned; empty when the kernel chose
	Settings  map[string]string `json:"settings"`
}

// Row is one second of a run. Latencies are nanoseconds of the connections that
// were established in that second, zero when there were none.
type Row struct {
	T          float64 `json:"t_s"` // end of the interval, seconds since the start
	Attempted  uint64  `json:"attempted"`
	Succeeded  uint64  `json:"succeeded"`
	Failed     uint64  `json:"failed"`
	InFlight   int     `json:"in_flight"` // at the end of the interval
	ConnectP50 int64   `json:"connect_p50"`
	ConnectP99 int64   `json:"connect_p99"`
	ConnectMax int64   `json:"connect_max"`
	// ConnectCallMean is the mean time inside connect(). Beside the timeline's ports of the
	// fullest space it shows what the port search costs.
	ConnectCallMean int64 `json:"connect_call_mean"`
	// Exhausted is how many connect() calls found no free four-tuple.
	Exhausted uint64 `json:"exhausted"`
}

// Population is what became of a number of connections that were to be held.
type Population struct {
	Wanted uint64 `json:"wanted"`
	// Held is the number that was established when the measured time ended.
	Held uint64 `json:"held"`
	// RampS is the time until each had had its first exchange or had failed, in
	// seconds; zero if the run ended before.
	RampS float64 `json:"ramp_s"`
	// HoldS is how long the population was to be kept from then on.
	HoldS float64 `json:"hold_s"`
	// Opened is the number that was established at the end of the ramp, OpenedPerS that
	// over RampS.
	Opened     uint64  `json:"opened"`
	OpenedPerS float64 `json:"opened_per_s"`
	// HeartbeatsPerS is the number of heartbeats that were answered while the population was
	// kept, per second; of a server that only listens, those sent. Zero if there were none.
	HeartbeatsPerS float64 `json:"heartbeats_per_s,omitempty"`
	// Clients and Servers are the numbers of processes that held it.
	Clients int `json:"clients"`
	Servers int `json:"servers"`
}

// BurstRow is one burst: how many connections were issued, and over how long a time,
// from the first connect() to the last.
type BurstRow struct {
	DueS     float64 `json:"due_s"` // since the start of the measured time
	Issued   uint64  `json:"issued"`
	SpreadNS int64   `json:"spread_ns"`
	LateNS   int64   `json:"late_ns"` // of the first, behind the instant
}

// CPU is the processor time of each side, from getrusage(2) of its processes over
// the measured time. On one machine the sender's system time includes the
// receiver's half of the stack; docs/result.md says how to read it.
type CPU struct {
	Client *Usage `json:"client,omitempty"`
	Server *Usage `json:"server,omitempty"` // absent for a foreign server
	// HostBusy is the share of all processors that was not idle, 0 to 1.
	HostBusy float64 `json:"host_busy"`
	// HostSoftIRQ is the share that soft interrupts took on nobody's behalf, 0 to 1.
	HostSoftIRQ float64 `json:"host_softirq"`
	// HostSteal is the share that the hypervisor took away, 0 to 1.
	HostSteal float64 `json:"host_steal"`
}

// Usage is processor time of one side.
type Usage struct {
	UserS   float64 `json:"user_s"`
	SystemS float64 `json:"system_s"`
	// PerConnection is user plus system time per attempt that ended within the
	// measured time, whenever it began, in microseconds; zero when none did.
	PerConnection       float64 `json:"us_per_connection"`
	UserPerConnection   float64 `json:"user_us_per_connection"`
	SystemPerConnection float64 `json:"system_us_per_connection"`
	// PerOpened is user plus system time of the ramp of a held population, in microseconds
	// for each connection that it opened, and PerHeartbeat that of the time after it for each
	// of its heartbeats. Zero if there was none.
	PerOpened    float64 `json:"us_per_opened,omitempty"`
	PerHeartbeat float64 `json:"us_per_heartbeat,omitempty"`
	MaxRSSBytes  uint64  `json:"max_rss_bytes"`
}

// Check is a number seen from two sides that must agree.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Detail names both values, and what a difference means.
	Detail string `json:"detail"`
}

// Flag warns a reader of something that bounds what the result says.
type Flag struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Flagged tells whether the result carries the flag.
func (r *Result) Flagged(name string) bool {
	for _, f := range r.Flags {
		if f.Name == name {
			return true
		}
	}
	return false
}

// Write writes the document, indented, with a newline at its end.
func (r *Result) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// Read reads one document and checks what everything else relies on: the schema
// and the balance of the counts.
func Read(r io.Reader) (*Result, error) {
	var result Result
	d := json.NewDecoder(r)
	if err := d.Decode(&result); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("read result: byte %d: %w", syntax.Offset, err)
		}
		return nil, fmt.Errorf("read result: %w", err)
	}
	if result.Schema != Schema {
		return nil, fmt.Errorf("read result: schema %q, this program reads %q", result.Schema, Schema)
	}
	if err := result.Balance(); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	for name, h := range result.Histograms {
		if _, err := h.Recorder(); err != nil {
			return nil, fmt.Errorf("read result: %s: %w", name, err)
		}
	}
	return &result, nil
}
