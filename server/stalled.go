package server

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"
)

// stalled is a connection that could not take a response at once: its peer reads slowly, or the
// response is larger than the send buffer. It plays the rest of its script by blocking reads and
// writes, parked in the runtime's poller, because gnet neither reports when a socket takes more,
// nor stops to read, nor keeps a connection open after a FIN. So a response costs no memory,
// however slowly it is read; a peer that only sends is held back by its own window; and after a
// half-close all bytes still go out before our FIN.
type stalled struct {
	engine *engine
	conn   conn
	due    due
	rest   []byte // in echo mode: what goes back first
	file   *os.File
	fd     int
	buffer []byte
}

// readSize is small because many may wait here and few are ever large.
const readSize = 16 << 10

// start plays the rest of the script on a goroutine. Each connection closes its own descriptor:
// nobody else may while it is in use. So a server that stops only wakes it.
func (s *stalled) start() {
	s.rest = slices.Clone(s.rest) // the loop reuses the buffer that it has read into
	_ = s.file.SetWriteDeadline(s.end())
	server := s.engine.server
	woken := context.AfterFunc(server.running, func() {
		_ = s.file.SetDeadline(time.Unix(1, 0)) // it may have been closed just now
	})
	s.engine.playing.Add(1)
	server.stalls.Go(func() {
		s.play()
		woken()
		s.engine.playing.Add(-1)
	})
}

// play does what handle, answer and close do on the loop, by blocking calls.
func (s *stalled) play() {
	c := &s.conn
	s.reflect()
	s.answer()
	for c.state != closed {
		n, err := s.read()
		s.engine.counters.read.Add(uint64(n))
		if c.state == echo {
			s.rest = s.buffer[:n]
			s.reflect()
		} else {
			s.due = s.engine.order(c, c.handle(s.buffer[:n], &s.engine.server.cfg))
			s.answer()
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && s.over() == Completed:
			c.expire()
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.finish(s.over())
		default:
			s.due = s.engine.order(c, c.leaveBy(err))
			s.answer()
		}
	}
	if s.engine.abrupt(c) {
		s.drain()
	}
	if c.resets() {
		resetOnClose(s.fd)
	}
	s.engine.end(c, s.fd)
	_ = s.file.Close() // there is nobody to report an error to
}

// over returns why the connection cannot go on whatever its peer does, or Completed.
func (s *stalled) over() Reason {
	switch {
	case s.engine.server.running.Err() != nil:
		return Shutdown
	case s.conn.until != 0 && s.engine.clock() >= s.conn.until:
		return LifeExceeded
	}
	return Completed
}

// end returns the end of the connection's life; zero, which is no deadline, if it has none.
func (s *stalled) end() time.Time {
	if s.conn.until == 0 {
		return time.Time{}
	}
	return s.engine.server.started.Add(time.Duration(s.conn.until))
}

// read waits for the peer's next bytes, for as long as the state allows.
func (s *stalled) read() (int, error) {
	if s.buffer == nil {
		s.buffer = make([]byte, readSize)
	}
	c := &s.conn
	switch {
	case !states[c.state].timed || s.engine.timeout == 0:
		_ = s.file.SetReadDeadline(s.end()) // fails only on what has no poller
	case c.renew:
		deadline := time.Now().Add(s.engine.timeout)
		if end := s.end(); !end.IsZero() && end.Before(deadline) {
			deadline = end
		}
		_ = s.file.SetReadDeadline(deadline)
		c.renew = false
	}
	// A server that stops says so before it sets deadlines, so one of both is seen.
	if s.engine.server.running.Err() != nil {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := s.file.Read(s.buffer)
	if err == io.EOF {
		return 0, err
	}
	return max(n, 0), err
}

func (s *stalled) answer() {
	for s.due.bytes > 0 {
		n, err := s.write(s.conn.content(s.due.bytes))
		s.due.bytes -= uint64(n)
		s.conn.place += uint64(n)
		if err != nil {
			return
		}
	}
	s.engine.counters.exchanges.Add(s.due.exchanges)
	s.due = due{}
}

func (s *stalled) reflect() {
	if len(s.rest) > 0 {
		_, _ = s.write(s.rest) // an error has ended the connection
		s.rest = nil
	}
}

func (s *stalled) write(b []byte) (int, error) {
	n, err := s.file.Write(b)
	s.engine.counters.written.Add(uint64(max(n, 0)))
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.conn.lose(s.over())
		s.conn.script.Refusals = false // it would come in the middle of a response
	default:
		s.conn.lose(lostBy(err))
	}
	return max(n, 0), err
}

// drain waits until the kernel has sent everything: a RST goes after the last byte of a response,
// never in its place. There is no event for that.
func (s *stalled) drain() {
	for pause := time.Millisecond; unsent(s.fd) > 0; pause = min(2*pause, 50*time.Millisecond) {
		// A RST empties the send buffer and leaves the count of unsent bytes as it was.
		if hungUp(s.fd) {
			s.conn.lose(lostBy(pending(s.fd)))
			return
		}
		if why := s.over(); why != Completed {
			s.conn.lose(why)
			return
		}
		select {
		case <-s.engine.server.running.Done():
		case <-time.After(pause):
		}
	}
}
