package server

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"

	_ "tcpbench/internal/cleanenv" // gnet's own logger must not read the environment
)

// gnet ends a loop, and with it all of its connections, when accept() fails for a reason that
// gnet does not know. Its poller finds that out by errors.Is(err, ErrAcceptSocket); an error
// that equals nothing lets it go on. TestAcceptGoesOn fails if a new version of gnet finds out
// in another way.
func init() { gneterrors.ErrAcceptSocket = incomparable{} }

// incomparable is an error that errors.Is does not even find in itself.
type incomparable []struct{}

func (incomparable) Error() string { return "accept: reported to the logger" }

// acceptFormat is what gnet logs when accept() fails, on the loop that called it.
const acceptFormat = "Accept() failed due to error: %v"

// logger is gnet's logger. Without one gnet writes to stdout, and only its logger learns why an
// engine has ended.
type logger struct {
	mu     sync.Mutex
	cause  error
	accept func(error) // is called with the reason why accept() failed
}

func (*logger) Debugf(string, ...any) {}
func (*logger) Infof(string, ...any)  {}
func (*logger) Warnf(string, ...any)  {}

func (l *logger) Errorf(format string, args ...any) {
	for _, arg := range args {
		err, ok := arg.(error)
		switch {
		case !ok:
		case format == acceptFormat:
			l.accept(err)
		default:
			l.keep(err)
		}
	}
}

func (l *logger) Fatalf(format string, args ...any) { l.Errorf(format, args...) }

// keep prefers the last error that came from the kernel: gnet logs that first, and then its own
// words for it.
func (l *logger) keep(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errno, known unix.Errno
	if errors.As(err, &errno) || !errors.As(l.cause, &known) {
		l.cause = err
	}
}

func (l *logger) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// acceptPause is how long a loop waits before it tries again to accept a connection. Without
// it, the loop would do nothing else.
const acceptPause = time.Millisecond

// acceptFailed runs on the loop.
func (e *engine) acceptFailed(err error) {
	e.counters.unaccepted.Add(1)
	switch {
	case passing(err):
		time.Sleep(acceptPause)
	case e.deaf.CompareAndSwap(false, true):
		// From another goroutine: ending the server waits for loops.
		go e.server.fail(fmt.Errorf("loop %d: accept: %w%s", e.index, err, remedy(err)))
	}
}

// passing reports whether accept() may succeed the next time: something has run out, or the
// error is of one connection (accept(2), section "Error handling").
func passing(err error) bool {
	return slices.ContainsFunc([]unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM,
		unix.EPROTO, unix.EPERM, unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH,
		unix.ENONET, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.ETIMEDOUT,
	}, func(errno unix.Errno) bool { return errors.Is(err, errno) })
}
