package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// endings are the signals that end a run in order. SIGHUP is among them: a terminal that goes
// away, as a lost SSH session does, must not leave this machine changed.
var endings = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// signalled is why a context ended: a signal.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

// code is the exit code by which a shell reports the signal.
func (s signalled) code() int { return exitSignal + int(s.Signal.(syscall.Signal)) }

// interrupted returns the exit by which a run that a signal has ended says so, or nil.
func interrupted(ctx context.Context) error {
	if s, ok := context.Cause(ctx).(signalled); ok {
		return exit{s.code(), nil}
	}
	return nil
}

// underSignals returns a context that ends at the first SIGINT, SIGTERM or SIGHUP. The second one
// calls lastly, which may be nil, and then has its usual effect. release lets go of the signals and
// ends the context.
func underSignals(lastly func()) (ctx context.Context, release func()) {
	ctx, stop := context.WithCancelCause(context.Background())
	ch, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(ch, endings...)
	go func() {
		select {
		case s := <-ch:
			stop(signalled{s})
		case <-done:
			return
		}
		select {
		case s := <-ch:
			if lastly != nil {
				lastly()
			}
			signal.Reset(s)
			_ = syscall.Kill(os.Getpid(), s.(syscall.Signal))
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		stop(nil)
	}
}
