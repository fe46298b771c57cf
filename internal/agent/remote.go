package agent

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// Place is where agents can be started.
type Place interface {
	Start(name string) (Conn, error)
}

// Remote is an agent as its coordinator sees it. A method that asks something of the agent
// closes one that does not answer in time, and returns an error that says what was asked.
type Remote struct {
	conn    Conn
	name    string
	asking  sync.Mutex
	answers chan Message
	gone    chan struct{} // closed when nothing comes any more
	why     error         // after gone: how the agent ended
}

// Heard is called with each Event of an agent, and then once with its Done or with an error.
// Nothing else is heard from the agent until it returns.
type Heard func(Message, error)

// patience bounds everything that an agent does before it is ready, and each message that needs
// no answer.
const patience = 10 * time.Second

// New starts an agent, and waits until it is prepared for a role. It decodes into ready what
// the role says then (nil: nothing).
func New(place Place, role string, spec, ready any, heard Heard) (*Remote, error) {
	m, err := Message{Type: Prepare, Role: role}.with(spec)
	if err != nil {
		return nil, err
	}
	conn, err := place.Start(role)
	if err != nil {
		return nil, err
	}
	r := newRemote(conn, role, heard)
	if m, err = r.ask(m, patience, Ready); err == nil {
		err = r.into(m, ready)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func newRemote(conn Conn, name string, heard Heard) *Remote {
	r := &Remote{conn: conn, name: name, answers: make(chan Message, 1), gone: make(chan struct{})}
	go r.listen(heard)
	return r
}

// Start has the role begin at an instant; zero is now.
func (r *Remote) Start(at time.Time) error { return r.say(Message{Type: Start, At: at}) }

// Tell passes a word to the role.
func (r *Remote) Tell(word string) error { return r.say(Message{Type: Tell, Word: word}) }

// Stop asks the role to end.
func (r *Remote) Stop() error { return r.say(Message{Type: Stop}) }

// Sample returns what the agent has used, and decodes what its role has counted.
func (r *Remote) Sample(within time.Duration, counted any) (Usage, error) {
	m, err := r.ask(Message{Type: Sample}, within, Sampled)
	switch {
	case err != nil:
		return Usage{}, err
	case m.Usage == nil:
		return Usage{}, fmt.Errorf("%s: %q without its usage", r.name, m.Type)
	}
	return *m.Usage, r.into(m, counted)
}

// Await waits until the agent has ended: heard has returned for the last time.
func (r *Remote) Await(within time.Duration) error {
	return r.bounded(within, "end", func() error {
		<-r.gone
		return nil
	})
}

// Close ends the agent, and returns when it has ended.
func (r *Remote) Close() { r.conn.Close() }

func (r *Remote) String() string { return r.conn.String() }

// Process is the process of the agent; nil if it has none of its own.
func (r *Remote) Process() *Process {
	p, _ := r.conn.(*Process)
	return p
}

// Freeze stops the agent's process: it does nothing until Thaw, while the kernel goes on to
// answer for its sockets.
func (r *Remote) Freeze() error { return r.signal(syscall.SIGSTOP) }

// Thaw lets an agent go on that Freeze has stopped.
func (r *Remote) Thaw() error { return r.signal(syscall.SIGCONT) }

func (r *Remote) signal(s syscall.Signal) error {
	if p := r.Process(); p != nil {
		return p.Signal(s)
	}
	return errors.ErrUnsupported
}

// listen passes on what comes, until nothing comes any more.
func (r *Remote) listen(heard Heard) {
	defer close(r.gone)
	for {
		m, err := r.conn.Receive()
		switch {
		case err == io.EOF:
			r.why = fmt.Errorf("%v has ended", r)
		case err != nil:
			r.why = err
		case m.Type == Failed:
			r.why = fmt.Errorf("%s: %s", r.name, m.Error)
		case m.Type == Done:
			r.why = fmt.Errorf("%v has ended", r)
			heard.call(m, nil)
			return
		case m.Type == Event:
			heard.call(m, nil)
		default:
			select {
			case r.answers <- m:
			default:
				r.why = fmt.Errorf("%s: said %q, and nobody asked", r.name, m.Type)
			}
		}
		if r.why != nil {
			heard.call(Message{}, r.why)
			return
		}
	}
}

func (h Heard) call(m Message, err error) {
	if h != nil {
		h(m, err)
	}
}

// ask sends a message and returns its answer, which must be of a type.
func (r *Remote) ask(m Message, within time.Duration, answer Type) (got Message, err error) {
	r.asking.Lock()
	defer r.asking.Unlock()
	err = r.bounded(within, string(m.Type), func() error {
		sent := r.conn.Send(m)
		select {
		case got = <-r.answers:
		case <-r.gone: // which also says why an agent could not be told
			select {
			case got = <-r.answers:
			default:
				return r.why
			}
		}
		if got.Type != answer {
			return fmt.Errorf("%s: said %q, expected %q", r.name, got.Type, answer)
		}
		return sent
	})
	return got, err
}

func (r *Remote) say(m Message) error {
	return r.bounded(patience, string(m.Type), func() error {
		if err := r.conn.Send(m); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		return nil
	})
}

// bounded bounds a wait for the agent: it closes one that does not do what was asked in time.
func (r *Remote) bounded(within time.Duration, asked string, wait func() error) error {
	late := make(chan struct{})
	timer := time.AfterFunc(within, func() {
		close(late)
		r.Close()
	})
	err := wait()
	timer.Stop()
	select {
	case <-late:
		return fmt.Errorf("%v gave no answer within %v when it was asked to %s, so it was ended", r, within, asked)
	default:
		return err
	}
}

// into decodes the body of a message, unless body is nil.
func (r *Remote) into(m Message, body any) error {
	if body == nil {
		return nil
	}
	if err := m.Into(body); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}
