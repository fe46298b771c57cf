package server

import (
	"errors"
	"sync"
	"syscall"

	_ "tcpbench/internal/cleanenv" // gnet's own logger must not read the environment
)

// quiet is gnet's logger. gnet writes to stdout unless it is given another one,
// and an engine that ends tells why to its logger alone.
type quiet struct {
	mu     sync.Mutex
	cause  error
	accept func(error) // is told why accept() failed
}

func (*quiet) Debugf(string, ...any) {}
func (*quiet) Infof(string, ...any)  {}
func (*quiet) Warnf(string, ...any)  {}

func (q *quiet) Errorf(format string, args ...any) {
	for _, arg := range args {
		err, ok := arg.(error)
		switch {
		case !ok:
		case format == acceptFormat:
			q.accept(err)
		default:
			q.keep(err)
		}
	}
}

func (q *quiet) Fatalf(format string, args ...any) { q.Errorf(format, args...) }

// keep prefers the last error that came from the kernel: gnet logs it first and
// its own words for it after.
func (q *quiet) keep(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var errno, known syscall.Errno
	if errors.As(err, &errno) || !errors.As(q.cause, &known) {
		q.cause = err
	}
}

func (q *quiet) why() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cause
}
