package agent

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// Place is where agents can be started.
type Place interface {
	Start(name string) (Conn, error)
}

// Remote is an agent as its coordinator sees it. Each method that asks something of the agent
// closes an agent that does not answer in time, and returns an error that says what was asked.
type Remote struct {
	Conn
	name string
}

const (
	// startPatience bounds everything that an agent does before it is ready.
	startPatience = 10 * time.Second
	// sendPatience bounds a message that needs no answer.
	sendPatience = 10 * time.Second
)

// New starts an agent that takes a role. It decodes into ready what the role says when it is
// prepared (nil: nothing).
func New(place Place, role string, spec, ready any) (*Remote, error) {
	conn, err := place.Start(role)
	if err != nil {
		return nil, err
	}
	r := &Remote{conn, role}
	m, err := Message{Type: Prepare, Role: role}.with(spec)
	if err == nil {
		m, err = r.ask(m, startPatience, Ready)
	}
	if err == nil {
		err = r.into(m, ready)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Start has the role begin at an instant; zero is now.
func (r *Remote) Start(at time.Time) error { return r.say(Message{Type: Start, At: at}) }

// Tell passes a word to the role.
func (r *Remote) Tell(word string) error { return r.say(Message{Type: Tell, Word: word}) }

// Stop asks the role to end. Its result comes as a Done.
func (r *Remote) Stop() error { return r.say(Message{Type: Stop}) }

// Sample returns what the agent has used, and decodes what its role has counted. Nobody may
// call Receive meanwhile.
func (r *Remote) Sample(patience time.Duration, counted any) (Usage, error) {
	m, err := r.ask(Message{Type: Sample}, patience, Sampled)
	switch {
	case err != nil:
		return Usage{}, err
	case m.Usage == nil:
		return Usage{}, fmt.Errorf("%s: %q without its usage", r.name, m.Type)
	}
	return *m.Usage, r.into(m, counted)
}

// Result decodes the result of a role that was asked to stop. Events before it are left out.
func (r *Remote) Result(patience time.Duration, result any) error {
	return r.within(patience, "send its result", func() error {
		for {
			switch m, err := r.Receive(); {
			case err != nil:
				return err
			case m.Type == Done:
				return r.into(m, result)
			}
		}
	})
}

// Receive returns the next message. An agent that has failed or died is an error that says how.
func (r *Remote) Receive() (Message, error) {
	m, err := r.Conn.Receive()
	switch {
	case err == io.EOF:
		return m, fmt.Errorf("%v has ended", r)
	case err == nil && m.Type == Failed:
		return m, fmt.Errorf("%s: %s", r.name, m.Error)
	}
	return m, err
}

// ask sends a message and returns its answer, which must be of a type.
func (r *Remote) ask(m Message, patience time.Duration, answer Type) (got Message, err error) {
	err = r.within(patience, string(m.Type), func() error {
		sent := r.Send(m)
		got, err = r.Receive() // which also tells why an agent that has ended could not be told
		switch {
		case err != nil:
			return err
		case sent != nil:
			return fmt.Errorf("%s: %w", r.name, sent)
		case got.Type != answer:
			return fmt.Errorf("%s: said %q, expected %q", r.name, got.Type, answer)
		}
		return nil
	})
	return got, err
}

func (r *Remote) say(m Message) error {
	return r.within(sendPatience, string(m.Type), func() error {
		if err := r.Send(m); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		return nil
	})
}

// within bounds a wait for the agent: it closes one that does not do what was asked in time.
func (r *Remote) within(patience time.Duration, asked string, wait func() error) error {
	timer := time.AfterFunc(patience, r.Close)
	err := wait()
	if !timer.Stop() && err != nil {
		return fmt.Errorf("%v gave no answer within %v when asked to %s, so it was ended", r, patience, asked)
	}
	return err
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

// Freeze stops the agent's process: it does nothing until Thaw, while the kernel goes on to
// answer for its sockets.
func (r *Remote) Freeze() error { return r.signal(syscall.SIGSTOP) }

// Thaw lets an agent go on that Freeze has stopped.
func (r *Remote) Thaw() error { return r.signal(syscall.SIGCONT) }

func (r *Remote) signal(s syscall.Signal) error {
	p, ok := r.Conn.(*Process)
	if !ok {
		return errors.ErrUnsupported
	}
	return p.Signal(s)
}
