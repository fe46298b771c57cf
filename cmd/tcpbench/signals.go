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

func asSignalled(ctx context.Context, to *signalled) bool {
	s, ok := context.Cause(ctx).(signalled)
	*to = s
	return ok
}

// onSignals ends the context at the first SIGINT, SIGTERM or SIGHUP. The second one calls lastly,
// if it is not nil, and then has its usual effect. It returns a function that lets go of the
// signals.
func onSignals(stop context.CancelCauseFunc, lastly func()) (release func()) {
	ch := make(chan os.Signal, 1)
	done := make(chan struct{})
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
	return func() {
		signal.Stop(ch)
		close(done)
	}
}
