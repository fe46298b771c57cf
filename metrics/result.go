package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Schema names the form of a result document. It changes if a field changes its meaning or goes,
// and not for a new field.
const Schema = "tcpbench.result/1"

// Result is the document of one run, from which all views are drawn. docs/result.md describes
// every field.
type Result struct {
	Schema   string   `json:"schema"`
	Tool     Tool     `json:"tool"`
	Host     Host     `json:"host"`
	Scenario Scenario `json:"scenario"`
	// Lab is nil on the host itself. In a lab Host has the settings of its client.
	Lab *Lab `json:"lab,omitempty"`
	// Loopback is present if a scenario for a lab was shown without one.
	Loopback *Loopback `json:"loopback,omitempty"`
	Command  []string  `json:"command"`
	Started  time.Time `json:"started"`
	// ElapsedS is the measured time in seconds, without warm-up and drain: from the first arrival to
	// the last one's due time, or to the last end if a count bounds the run.
	ElapsedS float64 `json:"elapsed_s"`
	Tally
	// Rate is the attempts per second that succeeded within ElapsedS, whenever they began.
	Rate float64 `json:"rate"`
	// RateIntended is what the schedule asked for, nil in a closed loop.
	RateIntended *float64 `json:"rate_intended,omitempty"`
	// RateOffered is the attempts per second that were started.
	RateOffered float64              `json:"rate_offered"`
	Histograms  map[string]Histogram `json:"histograms"`
	Series      []Row                `json:"series"`
	// Population is present where connections were held.
	Population *Population `json:"population,omitempty"`
	// Beats is present where there were heartbeats.
	Beats  *Beats     `json:"heartbeats,omitempty"`
	Bursts []BurstRow `json:"bursts,omitempty"`
	// FreezeLateNS is how late the processes that a phase stops were stopped, at most.
	FreezeLateNS int64 `json:"freeze_late_ns,omitempty"`
	// Said is what the server answered on connections that failed.
	Said   *Said       `json:"server_said,omitempty"`
	Kernel []Namespace `json:"kernel,omitempty"`
	// Exhaustion is the first connect() that found no free four-tuple, if one did.
	Exhaustion *Exhaustion `json:"exhaustion,omitempty"`
	// TCP sums up TCP_INFO of a sample of the client's connections.
	TCP *TCPSample `json:"tcp_info,omitempty"`
	// MPTCP is present if the client had sockets of Multipath TCP.
	MPTCP  *MPTCP        `json:"mptcp,omitempty"`
	CPU    CPU           `json:"cpu"`
	Server *ServerReport `json:"server,omitempty"`
	// Forecast was computed from the host's settings before the run, Findings from the document.
	Forecast     []Finding     `json:"forecast,omitempty"`
	Findings     []Finding     `json:"findings,omitempty"`
	Checks       []Check       `json:"checks"`
	Flags        []Flag        `json:"flags"`
	Expectations []Expectation `json:"expectations,omitempty"`
	// Experiment is present if single connections were followed instead of a load.
	Experiment *Experiment `json:"experiment,omitempty"`
	// Verdict is present if the scenario makes a claim.
	Verdict *Verdict `json:"verdict,omitempty"`
	// Phases are the results of a scenario that has several; the result around them is their sum.
	Phases []Phase `json:"phases,omitempty"`
}

// Phase is one of several runs of a scenario, which run one after the other.
type Phase struct {
	Name string `json:"phase"`
	Why  string `json:"why,omitempty"` // what it shows
	// Costs is the price of what the phase does.
	Costs string `json:"costs,omitempty"`
	Result
}

// Tool is the program that wrote a result.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Go      string `json:"go"`
}

// Host is the machine of a run: what decides its numbers.
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
	LoadAfter  [3]float64 `json:"load_after"`  // the run is part of them
	NUMANodes  int        `json:"numa_nodes,omitempty"`
	SMT        string     `json:"smt,omitempty"`      // whether processors share cores: on, off, or empty if unknown
	Governor   string     `json:"governor,omitempty"` // of the processors' clock rate, empty if there is none
	// Mitigations are those of the processor's faults that affect it.
	Mitigations map[string]string `json:"mitigations,omitempty"`
	// Interfaces are those that lead to remote targets.
	Interfaces []Interface       `json:"interfaces,omitempty"`
	Sysctls    map[string]string `json:"sysctls"`
	// Listening are the ports that sockets in the client's namespace listen on: 22,9000-9063.
	Listening string            `json:"listening_ports,omitempty"`
	Limits    map[string]string `json:"limits"`
}

// Interface is a network device.
type Interface struct {
	Name     string   `json:"name"`
	Driver   string   `json:"driver,omitempty"`
	MTU      int      `json:"mtu"`
	Speed    int      `json:"speed_mbit"` // zero if the device has none
	RxQueues int      `json:"rx_queues"`
	TxQueues int      `json:"tx_queues"`
	Offloads []string `json:"offloads"` // those that are on: rx-checksum, tx-checksum, tso, gso, gro, lro
}

// Scenario is what the run did, by its flags with all defaults: enough to repeat it.
type Scenario struct {
	Name      string            `json:"name"`
	Arrival   string            `json:"arrival"`   // closed, constant, poisson
	Lifecycle string            `json:"lifecycle"` // one line for people
	Close     string            `json:"close"`     // who closes and how: client-fin, server-rst, …
	Target    []string          `json:"target"`
	Sources   []string          `json:"sources"` // as planned; empty when the kernel chose
	Settings  map[string]string `json:"settings"`
}

// Row is one second of a run. Latencies are nanoseconds, of the connections established in that
// second, and zero if there were none.
type Row struct {
	T          float64 `json:"t_s"` // end of the interval, seconds since the start
	Attempted  uint64  `json:"attempted"`
	Succeeded  uint64  `json:"succeeded"`
	Failed     uint64  `json:"failed"`
	InFlight   int     `json:"in_flight"` // at the end of the interval
	ConnectP50 int64   `json:"connect_p50"`
	ConnectP99 int64   `json:"connect_p99"`
	ConnectMax int64   `json:"connect_max"`
	// ConnectCallMean is the mean time inside connect(), which shows what the port search costs.
	ConnectCallMean int64  `json:"connect_call_mean"`
	Exhausted       uint64 `json:"exhausted"` // connect() calls that found no free four-tuple
}

// Population is a number of connections that were held.
type Population struct {
	Wanted uint64 `json:"wanted"`
	Held   uint64 `json:"held"` // established when the measured time ended
	// RampS is the time until each had its first exchange or failed; zero if the run ended before.
	RampS float64 `json:"ramp_s"`
	// HoldS is how long the population was kept from then on, as planned.
	HoldS float64 `json:"hold_s"`
	// Opened are those established at the end of the ramp, OpenedPerS their number over RampS.
	Opened     uint64  `json:"opened"`
	OpenedPerS float64 `json:"opened_per_s"`
	// HeartbeatsPerS are those answered while the population was kept, or sent if the server only
	// listens. Zero if there were none.
	HeartbeatsPerS float64 `json:"heartbeats_per_s,omitempty"`
	// Clients and Servers are numbers of processes.
	Clients int `json:"clients"`
	Servers int `json:"servers"`
}

// BurstRow is one burst of connections; SpreadNS is from the first connect() to the last.
type BurstRow struct {
	DueS     float64 `json:"due_s"` // since the start of the measured time
	Issued   uint64  `json:"issued"`
	SpreadNS int64   `json:"spread_ns"`
	LateNS   int64   `json:"late_ns"` // of the first, after the instant
}

// CPU is the processor time of each side over the measured time, from getrusage(2). On one machine
// the sender's system time includes the receiver's half of the stack (docs/result.md).
type CPU struct {
	Client *Usage `json:"client,omitempty"`
	Server *Usage `json:"server,omitempty"` // nil for a foreign server
	// The host's are shares of all processors, 0 to 1: not idle, in soft interrupts on nobody's
	// behalf, and taken by the hypervisor.
	HostBusy    float64 `json:"host_busy"`
	HostSoftIRQ float64 `json:"host_softirq"`
	HostSteal   float64 `json:"host_steal"`
}

// Usage is processor time of one side.
type Usage struct {
	UserS   float64 `json:"user_s"`
	SystemS float64 `json:"system_s"`
	// PerConnection is user plus system time in microseconds for each attempt that ended within the
	// measured time, whenever it began; zero if none did.
	PerConnection       float64 `json:"us_per_connection"`
	UserPerConnection   float64 `json:"user_us_per_connection"`
	SystemPerConnection float64 `json:"system_us_per_connection"`
	// PerOpened is that of a held population's ramp for each connection opened, PerHeartbeat that of
	// the time after it for each heartbeat. Zero if there was none.
	PerOpened    float64 `json:"us_per_opened,omitempty"`
	PerHeartbeat float64 `json:"us_per_heartbeat,omitempty"`
	MaxRSSBytes  uint64  `json:"max_rss_bytes"`
}

// Check compares a number as two sides saw it.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // both values, and what a difference means
}

// Flag is a reason to trust a result less.
type Flag struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Flagged tells whether the result carries the flag.
func (r *Result) Flagged(name string) bool {
	return slices.ContainsFunc(r.Flags, func(f Flag) bool { return f.Name == name })
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

// Read reads one document and checks what all else relies on: schema, balance of the counts, and
// histograms.
func Read(r io.Reader) (*Result, error) {
	var result Result
	if err := json.NewDecoder(r).Decode(&result); err != nil {
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
