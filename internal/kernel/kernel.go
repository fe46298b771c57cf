// Package kernel reads what Linux says of itself: counters, sockets, processor
// time, settings, the machine.
//
// It observes and never changes anything: what writes a sysctl stands in
// internal/lab. Values keep the names and the units of the kernel, and functions
// are named after the file that they read, so that every number can be found
// again with cat. Counters that this package has never heard of are kept: a newer
// kernel tells more, not less.
//
// Everything under /proc/net and /proc/sys/net belongs to a network namespace,
// and a namespace belongs to a thread. These functions read that of the calling
// thread: whoever changes namespaces within a process locks the goroutine to its
// thread first (runtime.LockOSThread).
//
// It draws no conclusions (metrics/diagnose does), starts no goroutine and keeps
// no clock: when to read is the caller's choice.
package kernel
