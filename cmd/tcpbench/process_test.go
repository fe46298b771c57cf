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

// freePort returns the first of a few ports in a row that are free, below the range from
// which the kernel takes the source ports of connections. No two calls give the same.
func freePort(fail func(string, ...any)) int {
	const first, ports = 12_000, 18_000
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

// tcpRow is a line of /proc/net/tcp.
type tcpRow struct {
	localPort, remotePort int
	state                 string
	inode                 string
}

const (
	timeWait = "06"
	listens  = "0A"
)

func tcpRows() (rows []tcpRow) {
	content, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(content) {
		f := strings.Fields(string(line))
		if len(f) < 10 || f[0] == "sl" {
			continue
		}
		rows = append(rows, tcpRow{hexPort(f[1]), hexPort(f[2]), f[3], f[9]})
	}
	return rows
}

func hexPort(address string) int {
	_, text, _ := strings.Cut(address, ":")
	port, err := strconv.ParseUint(text, 16, 16)
	if err != nil {
		return 0
	}
	return int(port)
}

// served tells whether a client has closed a connection to the port in order, as one
// that succeeded does.
func served(port int) bool {
	return slices.ContainsFunc(tcpRows(), func(r tcpRow) bool { return r.remotePort == port && r.state == timeWait })
}

// listener returns which of the processes listens on the port.
func listener(port int, pids []int) (int, bool) {
	var sockets []string
	for _, r := range tcpRows() {
		if r.localPort == port && r.state == listens {
			sockets = append(sockets, "socket:["+r.inode+"]")
		}
	}
	for _, pid := range pids {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && slices.Contains(sockets, to) {
				return pid, true
			}
		}
	}
	return 0, false
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
