package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// outcomeOf names what an errno says about an attempt. The same errno can mean
// different things at different stages: EADDRNOTAVAIL from connect() says that no
// port is free (__inet_hash_connect), from bind() that the address is not this host's.
func outcomeOf(stage metrics.Stage, errno unix.Errno) metrics.Outcome {
	switch errno {
	case unix.EADDRNOTAVAIL:
		if stage == metrics.StageSocket {
			return metrics.BadAddress
		}
		return metrics.PortsExhausted
	case unix.EADDRINUSE:
		return metrics.PortsExhausted
	case unix.EMFILE, unix.ENFILE:
		return metrics.DescriptorsExceeded
	case unix.ENOBUFS, unix.ENOMEM:
		return metrics.NoBuffers
	case unix.EACCES, unix.EPERM:
		return metrics.Denied
	case unix.EINVAL, unix.EAFNOSUPPORT:
		return metrics.BadAddress
	case unix.ECONNREFUSED:
		return metrics.Refused
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN:
		return metrics.Unreachable
	case unix.ECONNRESET, unix.EPIPE, unix.ECONNABORTED:
		return metrics.Reset
	case unix.ETIMEDOUT:
		return metrics.KernelTimeout
	}
	return metrics.OtherError
}

// scarce tells whether an outcome means that this host has run out of something.
// Trying again at once would only burn the processor.
func scarce(o metrics.Outcome) bool {
	return o == metrics.PortsExhausted || o == metrics.DescriptorsExceeded || o == metrics.NoBuffers
}
