package trace

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The sizes of the programs' counters.
const (
	states     = 16 // more than there are
	stateCells = states * states
	reasons    = 128
)

// The states that the programs tell apart (net/tcp_states.h).
const (
	established = 1
	synSent     = 2
	synRecv     = 3
)

const inet6 = 10 // AF_INET6

// Places on the stack, relative to R10.
const (
	index int16 = -8  // the number of a counter
	when  int16 = -16 // a time
	sock  int16 = -24 // the address of a socket
	tuple int16 = -32 // the client's address and port, and the server's port
)

// In all programs R6 is the socket and R9 its side: 0 the client's, 1 the server's.

// on calls a function with a map and the key that is on the stack.
func on(m *ebpf.Map, key int16, more ...asm.Instruction) asm.Instructions {
	return append(asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, int32(key)),
	}, more...)
}

// find looks up a key; R0 is the value, or 0.
func find(m *ebpf.Map, key int16) asm.Instructions { return on(m, key, asm.FnMapLookupElem.Call()) }

func remove(m *ebpf.Map, key int16) asm.Instructions { return on(m, key, asm.FnMapDeleteElem.Call()) }

// put stores the time that is on the stack.
func put(m *ebpf.Map, key int16) asm.Instructions {
	return on(m, key,
		asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, int32(when)), asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call())
}

// count adds one to the counter whose number is in R1. If there is none, it goes on at the label.
func count(m *ebpf.Map, label string) asm.Instructions {
	code := asm.Instructions{asm.StoreMem(asm.R10, index, asm.R1, asm.Word)}
	code = append(code, find(m, index)...)
	return append(code,
		asm.JEq.Imm(asm.R0, 0, label),
		asm.Mov.Imm(asm.R1, 1),
		// Atomic, because an interrupt may trace on the same processor.
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	)
}

// ours sets R9 if the local port in R7 or the remote port in R8 is the server's. Otherwise it ends the
// program.
func ours(m *maps) asm.Instructions {
	var code asm.Instructions
	test := func(port asm.Register, side int32, otherwise string) {
		code = append(code, asm.StoreMem(asm.R10, index, port, asm.Word))
		code = append(code, find(m.ports, index)...)
		code = append(code,
			asm.JEq.Imm(asm.R0, 0, otherwise),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte),
			asm.Mov.Imm(asm.R9, side),
			asm.JEq.Imm(asm.R1, 0, otherwise))
	}
	test(asm.R7, 1, "remote")
	code = append(code, asm.Ja.Label("ours"))
	at := len(code)
	test(asm.R8, 0, "end")
	code[at] = code[at].WithSymbol("remote")
	return append(code, asm.Mov.Reg(asm.R0, asm.R0).WithSymbol("ours"))
}

// here ends the program unless the struct net in R1 is one of the run's namespaces.
func here(m *maps, l *layout) asm.Instructions {
	code := asm.Instructions{
		asm.JEq.Imm(asm.R1, 0, "end").WithSymbol("net"),
		asm.LoadMem(asm.R1, asm.R1, l.inum, asm.Word),
		asm.StoreMem(asm.R10, index, asm.R1, asm.Word),
	}
	code = append(code, find(m.spaces, index)...)
	return append(code, asm.JEq.Imm(asm.R0, 0, "end"))
}

// socketHere ends the program unless the socket in R6 is in one of the run's namespaces.
func socketHere(m *maps, l *layout) asm.Instructions {
	return append(asm.Instructions{asm.LoadMem(asm.R1, asm.R6, l.net, asm.DWord)}, here(m, l)...)
}

// socketPorts loads the ports of the socket in R6 into R7 and R8. It reads inet_sport, because the kernel
// resets skc_num before it traces the change to CLOSE (tcp_set_state, inet_put_port). inet_sport is beyond
// struct sock, so only a helper may read it.
func socketPorts(l *layout) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, int32(index)),
		asm.Mov.Imm(asm.R2, 2),
		asm.Mov.Reg(asm.R3, asm.R6), asm.Add.Imm(asm.R3, int32(l.sport)),
		asm.FnProbeReadKernel.Call(),
		asm.JNE.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R7, asm.R10, index, asm.Half),
		asm.HostTo(asm.BE, asm.R7, asm.Half),
		asm.LoadMem(asm.R8, asm.R6, l.dport, asm.Half),
		asm.HostTo(asm.BE, asm.R8, asm.Half),
	}
}

func end() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return()}
}

// tupleCode makes the key of a four-tuple from the ports in the registers, and from the client's address
// at these offsets of the socket in R6.
func tupleCode(l *layout, address, address6 int16, client, server asm.Register, label string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R6, address, asm.Word),
		asm.LoadMem(asm.R1, asm.R6, l.family, asm.Half),
		asm.JNE.Imm(asm.R1, inet6, label),
		asm.LoadMem(asm.R2, asm.R6, address6, asm.Word),
		asm.StoreMem(asm.R10, tuple, asm.R2, asm.Word).WithSymbol(label),
		asm.StoreMem(asm.R10, tuple+4, client, asm.Half),
		asm.StoreMem(asm.R10, tuple+6, server, asm.Half),
	}
}

// stateProgram is for inet_sock_set_state(sk, oldstate, newstate): it counts transitions, and measures
// handshakes from the client's SYN_SENT to ESTABLISHED on each side.
func stateProgram(m *maps, l *layout) asm.Instructions {
	// The states are on the stack, because ports take the registers.
	const before, after int16 = -40, -48
	code := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, 8, asm.DWord), asm.And.Imm(asm.R2, states-1),
		asm.StoreMem(asm.R10, before, asm.R2, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, 16, asm.DWord), asm.And.Imm(asm.R2, states-1),
		asm.StoreMem(asm.R10, after, asm.R2, asm.DWord),
	}
	add := func(more ...asm.Instruction) { code = append(code, more...) }
	add(socketHere(m, l)...)
	add(socketPorts(l)...)
	add(ours(m)...)
	add(
		asm.Mov.Reg(asm.R1, asm.R9), asm.Mul.Imm(asm.R1, stateCells),
		asm.LoadMem(asm.R2, asm.R10, before, asm.DWord), asm.Mul.Imm(asm.R2, states), asm.Add.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R2, asm.R10, after, asm.DWord), asm.Add.Reg(asm.R1, asm.R2),
	)
	add(count(m.transitions, "counted")...)
	add(asm.LoadMem(asm.R1, asm.R10, before, asm.DWord).WithSymbol("counted"),
		asm.LoadMem(asm.R2, asm.R10, after, asm.DWord),
		asm.StoreMem(asm.R10, sock, asm.R6, asm.DWord),
		asm.JEq.Imm(asm.R9, 1, "server"),
		asm.JEq.Imm(asm.R2, synSent, "begins"),
		asm.JNE.Imm(asm.R1, synSent, "end"))
	// The client has got an answer to its SYN, or given up.
	add(find(m.started, sock)...)
	add(asm.JEq.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.StoreMem(asm.R10, when, asm.R1, asm.DWord))
	add(remove(m.started, sock)...)
	add(asm.LoadMem(asm.R2, asm.R10, after, asm.DWord), asm.JNE.Imm(asm.R2, established, "end"))
	add(tupleCode(l, l.saddr, l.saddr6, asm.R7, asm.R8, "client4")...)
	add(put(m.tuples, tuple)...)
	add(asm.Ja.Label("record"))
	// A SYN: the port is not chosen yet, so the key is the socket.
	add(asm.FnKtimeGetNs.Call().WithSymbol("begins"), asm.StoreMem(asm.R10, when, asm.R0, asm.DWord))
	add(put(m.started, sock)...)
	add(asm.Ja.Label("end"))
	// The server has got the last ACK of a client on this machine.
	add(asm.JNE.Imm(asm.R1, synRecv, "end").WithSymbol("server"), asm.JNE.Imm(asm.R2, established, "end"))
	add(tupleCode(l, l.daddr, l.daddr6, asm.R8, asm.R7, "server4")...)
	add(find(m.tuples, tuple)...)
	add(asm.JEq.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.StoreMem(asm.R10, when, asm.R1, asm.DWord))
	add(remove(m.tuples, tuple)...)
	add(asm.FnKtimeGetNs.Call().WithSymbol("record"),
		asm.LoadMem(asm.R1, asm.R10, when, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1), asm.Mov.Reg(asm.R1, asm.R0))
	add(bucketCode()...)
	add(asm.Mov.Reg(asm.R2, asm.R9).WithSymbol("bucket"), asm.Mul.Imm(asm.R2, buckets), asm.Add.Reg(asm.R1, asm.R2))
	add(count(m.handshakes, "end")...)
	return append(code, end()...)
}

// onSocket begins a program whose first argument is the socket: it goes on if the socket is the run's.
func onSocket(m *maps, l *layout) asm.Instructions {
	return slices.Concat(asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord)}, socketHere(m, l), socketPorts(l), ours(m))
}

// retransmitProgram is for tcp_retransmit_skb(sk, skb, …): a segment is sent again.
func retransmitProgram(m *maps, l *layout) asm.Instructions {
	return slices.Concat(onSocket(m, l), asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R9), asm.Mul.Imm(asm.R1, states),
		asm.LoadMem(asm.R2, asm.R6, l.state, asm.Byte), asm.And.Imm(asm.R2, states-1), asm.Add.Reg(asm.R1, asm.R2),
	}, count(m.retransmits, "end"), end())
}

// sendResetProgram is for tcp_send_reset(sk, skb, reason). Without a socket, the ports are those of the
// segment that the reset answers; without a segment, those of the socket.
func sendResetProgram(m *maps, l *layout) asm.Instructions {
	const reason, header int16 = -40, -48
	code := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, 16, asm.DWord), asm.And.Imm(asm.R2, reasons-1),
		asm.StoreMem(asm.R10, reason, asm.R2, asm.DWord),
		asm.JEq.Imm(asm.R6, 0, "device"),
		asm.LoadMem(asm.R1, asm.R6, l.net, asm.DWord),
		asm.Ja.Label("net"),
		asm.JEq.Imm(asm.R7, 0, "end").WithSymbol("device"),
		asm.LoadMem(asm.R1, asm.R7, l.dev, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "end"),
		asm.LoadMem(asm.R1, asm.R1, l.devNet, asm.DWord),
	}
	code = append(code, here(m, l)...)
	code = append(code,
		asm.JEq.Imm(asm.R7, 0, "socket"),
		asm.LoadMem(asm.R3, asm.R7, l.head, asm.DWord),
		asm.LoadMem(asm.R2, asm.R7, l.transport, asm.Half),
		asm.Add.Reg(asm.R3, asm.R2),
		asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, int32(header)), asm.Mov.Imm(asm.R2, 4),
		asm.FnProbeReadKernel.Call(),
		asm.JNE.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R8, asm.R10, header, asm.Half), asm.HostTo(asm.BE, asm.R8, asm.Half),
		asm.LoadMem(asm.R7, asm.R10, header+2, asm.Half), asm.HostTo(asm.BE, asm.R7, asm.Half),
		asm.Ja.Label("ports"),
		asm.JEq.Imm(asm.R6, 0, "end").WithSymbol("socket"),
	)
	code = append(code, socketPorts(l)...)
	at := len(code)
	code = append(code, ours(m)...)
	code[at] = code[at].WithSymbol("ports")
	code = append(code,
		asm.Mov.Reg(asm.R1, asm.R9), asm.Mul.Imm(asm.R1, reasons),
		asm.LoadMem(asm.R2, asm.R10, reason, asm.DWord), asm.Add.Reg(asm.R1, asm.R2))
	code = append(code, count(m.sent, "end")...)
	return append(code, end()...)
}

// receiveResetProgram is for tcp_receive_reset(sk).
func receiveResetProgram(m *maps, l *layout) asm.Instructions {
	return slices.Concat(onSocket(m, l), asm.Instructions{asm.Mov.Reg(asm.R1, asm.R9)}, count(m.received, "end"), end())
}
