// Package metrics holds what a run measured: counts of attempts by how they ended, HDR histograms, a
// series of intervals, the result document with all of them, and the registry of the quantities that
// a document has.
//
// It has no clock, no sockets and no files, so every view, comparison and diagnosis can be tested from
// a document alone, and an old result still says the same. Counts balance: attempted = succeeded +
// failed + open. Durations are int64 nanoseconds until they are printed.
package metrics
