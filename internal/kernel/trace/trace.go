// Package trace follows a run's connections by the kernel's tracepoints: every change of state with the
// kernel's time, every retransmission, every reset and its reason.
//
// Small programs count in the kernel's memory, so nothing is transferred during the run. They need CAP_BPF,
// CAP_PERFMON and a kernel with type information (BTF). If the kernel refuses one, the others work without
// it. Tracepoints are of the whole machine, so each program first looks at namespace and ports. They do not
// show TIME_WAIT and half-open requests, which are not full sockets.
package trace

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/metrics"
)

// Tracer is the programs in the kernel. They stay until Close or the end of the process.
type Tracer struct {
	maps    maps
	links   []link.Link
	progs   []*ebpf.Program
	reasons map[uint32]string
	refused []string
}

// maps are what the programs share with this process.
type maps struct {
	spaces      *ebpf.Map // by the inode of a network namespace of the run
	ports       *ebpf.Map // by port: 1 for the server's
	transitions *ebpf.Map // by side, old and new state
	started     *ebpf.Map // by socket: the time of its SYN
	tuples      *ebpf.Map // by four-tuple: the same, when the client is established
	handshakes  *ebpf.Map // by side and bucket
	retransmits *ebpf.Map // by side and state
	sent        *ebpf.Map // resets, by side and reason
	received    *ebpf.Map // resets, by side
}

// mostConnecting bounds the handshakes under way at once; older ones are forgotten.
const mostConnecting = 1 << 16

// Start attaches the programs that the kernel allows, for connections in network namespaces, given by
// inode, whose servers have one of the ports. An error means that the kernel allows none.
func Start(namespaces []uint32, ports []sockdiag.Ports) (*Tracer, error) {
	t := &Tracer{}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("trace: the kernel's types: %w", err)
	}
	offsets, err := layoutOf(types)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if err := t.maps.make(namespaces, ports); err != nil {
		return nil, errors.Join(fmt.Errorf("trace: %w", err), t.Close())
	}
	t.reasons = reasonsOf(types)
	for _, p := range []struct {
		tracepoint string
		code       asm.Instructions
	}{
		{"inet_sock_set_state", stateProgram(&t.maps, offsets)},
		{"tcp_retransmit_skb", retransmitProgram(&t.maps, offsets)},
		{"tcp_send_reset", sendResetProgram(&t.maps, offsets)},
		{"tcp_receive_reset", receiveResetProgram(&t.maps, offsets)},
	} {
		if err := t.attach(p.tracepoint, p.code); err != nil {
			t.refused = append(t.refused, fmt.Sprintf("%s: %v", p.tracepoint, err))
		}
	}
	if len(t.links) == 0 {
		return nil, errors.Join(fmt.Errorf("trace: %s", strings.Join(t.refused, "; ")), t.Close())
	}
	return t, nil
}

// attach loads a program and attaches it to a tracepoint.
func (t *Tracer) attach(tracepoint string, code asm.Instructions) error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "tcpb_" + strings.TrimPrefix(tracepoint, "tcp_")[:6], Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: tracepoint,
		Instructions: code, License: "GPL", // some of the kernel's functions need it
	})
	if err != nil {
		return err
	}
	t.progs = append(t.progs, program)
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return err
	}
	t.links = append(t.links, l)
	return nil
}

// Close removes the programs.
func (t *Tracer) Close() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	for _, p := range t.progs {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, t.maps.close())...)
}

func (m *maps) make(namespaces []uint32, ports []sockdiag.Ports) error {
	for _, s := range []struct {
		to         **ebpf.Map
		name       string
		kind       ebpf.MapType
		key, value uint32
		entries    uint32
	}{
		{&m.spaces, "spaces", ebpf.Hash, 4, 1, 16},
		{&m.ports, "ports", ebpf.Array, 4, 1, 1 << 16},
		{&m.transitions, "transitions", ebpf.PerCPUArray, 4, 8, 2 * stateCells},
		{&m.started, "started", ebpf.LRUHash, 8, 8, mostConnecting},
		{&m.tuples, "tuples", ebpf.LRUHash, 8, 8, mostConnecting},
		{&m.handshakes, "handshakes", ebpf.PerCPUArray, 4, 8, 2 * buckets},
		{&m.retransmits, "retransmits", ebpf.PerCPUArray, 4, 8, 2 * states},
		{&m.sent, "sent", ebpf.PerCPUArray, 4, 8, 2 * reasons},
		{&m.received, "received", ebpf.PerCPUArray, 4, 8, 2},
	} {
		made, err := ebpf.NewMap(&ebpf.MapSpec{Name: "tcpb_" + s.name[:min(8, len(s.name))], Type: s.kind, KeySize: s.key, ValueSize: s.value, MaxEntries: s.entries})
		if err != nil {
			return fmt.Errorf("memory for %s: %w", s.name, err)
		}
		*s.to = made
	}
	for _, inode := range namespaces {
		if err := m.spaces.Put(inode, uint8(1)); err != nil {
			return fmt.Errorf("filter namespace %d: %w", inode, err)
		}
	}
	for _, r := range ports {
		for p := uint32(r.Low); p <= uint32(r.High); p++ {
			if err := m.ports.Put(p, uint8(1)); err != nil {
				return fmt.Errorf("filter port %d: %w", p, err)
			}
		}
	}
	return nil
}

func (m *maps) close() error {
	var errs []error
	for _, made := range []*ebpf.Map{m.spaces, m.ports, m.transitions, m.started, m.tuples, m.handshakes, m.retransmits, m.sent, m.received} {
		if made != nil {
			errs = append(errs, made.Close())
		}
	}
	return errors.Join(errs...)
}

var sideNames = [sockdiag.Sides]string{sockdiag.Client: "client", sockdiag.Server: "server"}

// Read returns the counts so far, and histograms of handshakes.
func (t *Tracer) Read() (metrics.Trace, map[string]metrics.Histogram, error) {
	r := metrics.Trace{
		Transitions: map[string]uint64{}, Retransmits: map[string]uint64{},
		ResetsSent: map[string]uint64{}, ResetsReceived: map[string]uint64{}, Refused: t.refused,
	}
	err := errors.Join(
		each(t.maps.transitions, func(i uint32, n uint64) {
			from, to := sockdiag.State(i/states%states), sockdiag.State(i%states)
			r.Transitions[fmt.Sprintf("%s %s %s", sideNames[i/stateCells], from, to)] += n
		}),
		each(t.maps.retransmits, func(i uint32, n uint64) {
			r.Retransmits[fmt.Sprintf("%s %s", sideNames[i/states], sockdiag.State(i%states))] += n
		}),
		each(t.maps.sent, func(i uint32, n uint64) {
			reason, known := t.reasons[i%reasons]
			if !known {
				reason = fmt.Sprintf("reason %d", i%reasons)
			}
			r.ResetsSent[sideNames[i/reasons]+" "+reason] += n
		}),
		each(t.maps.received, func(i uint32, n uint64) { r.ResetsReceived[sideNames[i]] += n }),
	)
	if err != nil {
		return r, nil, fmt.Errorf("trace: %w", err)
	}
	histograms, err := t.histograms()
	if err != nil {
		return r, nil, fmt.Errorf("trace: %w", err)
	}
	return r, histograms, nil
}

func (t *Tracer) histograms() (map[string]metrics.Histogram, error) {
	var recorders [sockdiag.Sides]*metrics.Recorder
	for side := range recorders {
		recorders[side] = metrics.NewRecorder()
	}
	if err := each(t.maps.handshakes, func(i uint32, n uint64) {
		recorders[i/buckets].RecordMany(bucketValue(i%buckets), int64(n))
	}); err != nil {
		return nil, err
	}
	named := map[string]metrics.Histogram{}
	for side, name := range map[sockdiag.Side]string{sockdiag.Client: metrics.HandshakeClient, sockdiag.Server: metrics.HandshakeServer} {
		if recorders[side].Count() == 0 {
			continue
		}
		h, err := recorders[side].Export()
		if err != nil {
			return nil, err
		}
		named[name] = h
	}
	return named, nil
}

// each calls visit with the sum over all processors of every counter that is not zero.
func each(m *ebpf.Map, visit func(i uint32, n uint64)) error {
	var key uint32
	var perCPU []uint64
	entries := m.Iterate()
	for entries.Next(&key, &perCPU) {
		sum := uint64(0)
		for _, n := range perCPU {
			sum += n
		}
		if sum > 0 {
			visit(key, sum)
		}
	}
	return entries.Err()
}
