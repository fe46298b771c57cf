package server

import (
	"errors"
	"fmt"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"
)

// gnet ends a loop, and with it every connection of it, when accept() fails for a reason
// that it does not know. Its poller finds that out by errors.Is(err, ErrAcceptSocket); an
// error that is equal to nothing lets it go on. TestAcceptGoesOn fails when a new version
// of gnet finds out otherwise.
func init() { gneterrors.ErrAcceptSocket = incomparable{} }

// incomparable is an error that errors.Is does not even find in itself.
type incomparable []struct{}

func (incomparable) Error() string { return "accept: told to the logger" }

// acceptFormat is what gnet logs when accept() fails, on the loop that called it.
const acceptFormat = "Accept() failed due to error: %v"

// acceptPause is how long a loop waits before it looks at the connection again that it
// could not accept: without it, it would do nothing else.
const acceptPause = time.Millisecond

// acceptFailed is told why a connection could not be accepted. It runs on the loop.
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

// passing tells whether accept() may succeed the next time: something has run out, or
// the error is of one connection (accept(2), section "Error handling").
func passing(err error) bool {
	for _, errno := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM,
		unix.EPROTO, unix.EPERM, unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH,
		unix.ENONET, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.ETIMEDOUT,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
