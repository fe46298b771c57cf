// Package metrics holds what a run measured: counts of attempts by how they
// ended, HDR histograms, a series of intervals, and the result document in which
// they all stand.
//
// It is arithmetic on numbers that somebody else took: no clock, no sockets, no
// files. So every view, every comparison and every diagnosis can be tested from a
// document alone, and the same result read back years later says the same.
//
// Two rules hold everywhere. Counts balance: attempted = succeeded + each kind of
// failure + still open. And durations are int64 nanoseconds until they are printed.
package metrics
