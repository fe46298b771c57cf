// Package kernel reads what Linux counts: the counters and sockets of a network namespace, and the time
// of processors. Its samplers watch a run.
//
// It never changes anything (internal/machine writes sysctls), and draws no conclusions
// (metrics/diagnose does). Values have the kernel's names and units, and functions are named after the
// file that they read, so cat shows every number. Counters that this package does not know are kept.
//
// /proc/net belongs to a network namespace, and a namespace to a thread: these functions read that of
// the calling thread. A caller that changes namespaces locks the goroutine to its thread first
// (runtime.LockOSThread).
package kernel
