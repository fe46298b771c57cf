// Package agent runs the parts of a run in places of their own: a process of this binary, with
// its own processor time, limit of descriptors and network namespace, or a goroutine of this
// process.
//
// A coordinator and its agents speak a small protocol (Message): prepare, start, sample, stop,
// and what comes back. The package knows neither the roles nor their messages' content:
// whoever owns a Role registers it, and encodes and decodes its bodies.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Role is what an agent does for its coordinator. Its methods are called one at a time; an
// error ends the agent, and the coordinator is told.
type Role interface {
	// Prepare makes ready what the spec says, and returns what the coordinator needs to know
	// (nil: nothing). ctx ends with the agent, also if the coordinator is gone.
	Prepare(ctx context.Context, spec json.RawMessage, voice *Voice) (ready any, err error)
	// Start begins at an instant, and does not wait for it. Zero is now.
	Start(at time.Time) error
	// Sample returns what was counted so far (nil: nothing).
	Sample() (any, error)
	// Stop has the role end in order, and call Voice.End when it has.
	Stop() error
}

// Teller is a Role that knows words of its coordinator.
type Teller interface{ Tell(word string) error }

// Roles are the roles that agents can take, by name.
type Roles map[string]func() Role

// Voice is how a role speaks unasked.
type Voice struct {
	conn  Conn
	ended chan error
}

// Event reports something. A coordinator that is gone is no matter of the role.
func (v *Voice) Event(body any) { _ = reply(v.conn, Event, body) }

// End ends the agent, by a result (nil: none) or an error. Only the first call counts.
func (v *Voice) End(result any, err error) {
	if err == nil {
		err = reply(v.conn, Done, result)
	}
	select {
	case v.ended <- err:
	default:
	}
}

func reply(conn Conn, t Type, body any) error {
	m, err := Message{Type: t}.with(body)
	if err != nil {
		return err
	}
	return conn.Send(m)
}

// Serve is the life of an agent: it takes a role, and obeys until the role has ended or the
// coordinator is gone (io.EOF). It tells the coordinator any other error.
func Serve(conn Conn, roles Roles) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders, lost := make(chan Message), make(chan error, 1)
	go func() {
		for {
			m, err := conn.Receive()
			if err != nil {
				lost <- err
				return
			}
			select {
			case orders <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	a := &served{conn: conn, voice: &Voice{conn: conn, ended: make(chan error, 1)}}
	var err error
	for err == nil {
		select {
		case m := <-orders:
			if err = a.obey(ctx, roles, m); err == nil {
				continue
			}
		case err = <-lost:
		case err = <-a.voice.ended:
			if err == nil {
				return nil
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		_ = conn.Send(Message{Type: Failed, Error: err.Error()})
	}
	return err
}

// served is an agent at work.
type served struct {
	conn  Conn
	voice *Voice
	name  string
	role  Role // nil before Prepare
}

func (a *served) obey(ctx context.Context, roles Roles, m Message) error {
	switch {
	case a.role == nil && m.Type != Prepare:
		return fmt.Errorf("said %q before prepare", m.Type)
	case m.Type == Prepare:
		make := roles[m.Role]
		if make == nil || a.role != nil {
			return fmt.Errorf("cannot become %q", m.Role)
		}
		a.name, a.role = m.Role, make()
		ready, err := a.role.Prepare(ctx, m.Body, a.voice)
		if err != nil {
			return err
		}
		return reply(a.conn, Ready, ready)
	case m.Type == Start:
		return a.role.Start(m.At)
	case m.Type == Tell:
		if t, ok := a.role.(Teller); ok {
			return t.Tell(m.Word)
		}
	case m.Type == Stop:
		return a.role.Stop()
	case m.Type == Sample:
		counted, err := a.role.Sample()
		if err != nil {
			return err
		}
		m, err := Message{Type: Sampled, Usage: usage()}.with(counted)
		if err != nil {
			return err
		}
		return a.conn.Send(m)
	}
	return fmt.Errorf("said %q to a %s", m.Type, a.name)
}

func usage() *Usage {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return &Usage{}
	}
	return &Usage{UserNS: u.Utime.Nano(), SystemNS: u.Stime.Nano(), MaxRSS: uint64(u.Maxrss) << 10}
}

// Invoked reports whether this process is an agent that Processes has started. A program
// that starts agents asks it first of all, and then calls Main.
func Invoked() bool { return len(os.Args) == 2 && strings.HasPrefix(os.Args[1], argument+" ") }

// inherited is the descriptor of an agent's socket: the first after stderr.
const inherited = 3

// Main is the life of a process that is an agent. It returns the exit code.
func Main(roles Roles) int {
	// The coordinator decides when a run ends, also when a signal reaches all processes of one
	// name or one control group.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	if err := Serve(newPipe(os.NewFile(inherited, "coordinator")), roles); err != nil && !errors.Is(err, io.EOF) {
		return 1
	}
	return 0
}
