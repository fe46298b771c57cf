// Package borders holds the architecture as a test: which package may import
// which, who may touch the kernel, the clock and the terminal, and how long a file
// may be. There is nothing in it to import.
//
// The table of rooms stands on top of borders_test.go. A new package gets a room
// there before it gets its first import; where that is hard, the package or the
// table is wrong, and finding out which is what the test is for.
package borders
