package kernel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// netDir is of the reading thread's namespace; /proc/net is of the process's first thread.
const netDir = "/proc/thread-self/net/"

// Net reads the counters and sockets of a network namespace again and again. It keeps its files open
// and its memory, so a reading costs what the kernel takes to print it, and allocates nothing.
//
// The namespace is that of the thread that opened it, whichever thread reads later (the kernel looks it
// up in open(2): single_open_net), and exists at least until Close. One goroutine uses a Net at a time.
type Net struct {
	snmp, netstat, sockstat *os.File
	sockstat6               *os.File // nil without IPv6
	text                    []byte   // what was read last
	layout                  *layout  // of the counters read last
}

// OpenNet opens the files of the calling thread's network namespace.
func OpenNet() (*Net, error) {
	n := new(Net)
	for _, f := range []struct {
		name string
		file **os.File
	}{
		{"snmp", &n.snmp}, {"netstat", &n.netstat}, {"sockstat", &n.sockstat}, {"sockstat6", &n.sockstat6},
	} {
		var err error
		*f.file, err = os.Open(netDir + f.name)
		if f.name == "sockstat6" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// Close closes the files.
func (n *Net) Close() error {
	var errs []error
	for _, f := range []*os.File{n.snmp, n.netstat, n.sockstat, n.sockstat6} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Counters reads snmp and netstat into c, whose memory it uses again. c is invalid after an error.
func (n *Net) Counters(c *Counters) error {
	// Each line names its group, so two files read as one.
	text, err := appendFile(n.text[:0], n.snmp)
	if err == nil {
		text, err = appendFile(text, n.netstat)
	}
	n.text = text
	if err != nil {
		return err
	}
	c.layout, c.values, err = parseSNMP(text, n.layout, c.values)
	if err != nil {
		return fmt.Errorf("%s{snmp,netstat}: %w", netDir, err)
	}
	n.layout = c.layout
	return nil
}

// Sockstat reads sockstat and sockstat6.
func (n *Net) Sockstat() (Sockets, error) {
	text, err := appendFile(n.text[:0], n.sockstat)
	if err == nil && n.sockstat6 != nil {
		text, err = appendFile(text, n.sockstat6)
	}
	n.text = text
	if err != nil {
		return Sockets{}, err
	}
	s, err := parseSockstat(text)
	if err != nil {
		return Sockets{}, fmt.Errorf("%s{sockstat,sockstat6}: %w", netDir, err)
	}
	return s, nil
}

// appendFile appends all of f to text. A read of a /proc file at offset 0 makes the kernel print it
// anew; reads that follow without a gap continue that print.
func appendFile(text []byte, f *os.File) ([]byte, error) {
	for start := len(text); ; {
		if len(text) == cap(text) {
			text = append(text, make([]byte, max(4096, len(text)))...)[:len(text)]
		}
		n, err := f.ReadAt(text[len(text):cap(text)], int64(len(text)-start))
		text = text[:len(text)+n]
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return text, err
		}
	}
}
