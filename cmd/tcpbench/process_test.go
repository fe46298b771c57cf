package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// portsEach is the number of ports that freePort finds free at a time.
const portsEach = 4

var nextPort atomic.Int64

// freePort returns the first of a few ports in a row that are free. The kernel does not take the source
// ports of connections from there, and a server that chooses its port takes a higher one
// (metrics.Host.ServerPorts). No two calls give the same.
func freePort(fail func(string, ...any)) int {
	const first, ports = 2_000, 7_000
	for range ports / portsEach {
		n := int(nextPort.Add(portsEach)) + os.Getpid()*61%ports/portsEach*portsEach
		port := first + n%ports
		if isFree(port, portsEach) {
			return port
		}
	}
	fail("no port is free")
	return 0
}

func isFree(port, n int) bool {
	for p := port; p < port+n; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// marked returns the living processes that have this variable in their environment. One
// that is dead and not yet reaped has none.
func marked(variable string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil || !slices.Contains(strings.Split(string(content), "\x00"), variable) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// born orders processes by when they were started.
func born(pid int) (ticks int) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// Behind the name, which may hold spaces, starttime is field 22 of proc_pid_stat(5).
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) > 19 {
		ticks, _ = strconv.Atoi(fields[19])
	}
	return ticks
}

// sockets are the sockets that a process has open, by their inodes.
func sockets(pid int) (inodes []string) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:") {
			inodes = append(inodes, to)
		}
	}
	return inodes
}

// flagNames are the flags that a user of the command may set.
func flagNames(c *cobra.Command) (names []string) {
	c.InitDefaultHelpFlag()
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}
