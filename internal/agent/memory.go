package agent

import (
	"io"
	"os"
	"sync"
	"time"
)

// Memory is a Place in this process: its agents are goroutines, and messages need no bytes.
type Memory struct{ Roles Roles }

// memory is one end of a Conn in this process.
type memory struct {
	name   string
	in     <-chan Message
	out    chan<- Message
	closed chan struct{} // by this end
	once   *sync.Once
	peer   <-chan struct{} // closed by the other end
	ended  <-chan struct{} // on the coordinator's side: the agent has returned
}

// queued is how many messages wait for a receiver before Send does.
const queued = 64

// pair returns both ends of a Conn.
func pair(name string) (ours, theirs *memory) {
	down, up := make(chan Message, queued), make(chan Message, queued)
	over, done := make(chan struct{}), make(chan struct{})
	ours = &memory{name: name, in: up, out: down, closed: over, peer: done, ended: done, once: new(sync.Once)}
	theirs = &memory{name: "coordinator", in: down, out: up, closed: done, peer: over, once: new(sync.Once)}
	return ours, theirs
}

// Start starts an agent.
func (m Memory) Start(name string) (Conn, error) {
	ours, theirs := pair(name)
	go func() {
		defer theirs.Close()
		_ = Serve(theirs, m.Roles) // the coordinator was told
	}()
	return ours, nil
}

func (m *memory) Send(message Message) error {
	select {
	case <-m.closed:
		return os.ErrClosed
	default:
	}
	select {
	case m.out <- message:
		return nil
	case <-m.closed:
		return os.ErrClosed
	case <-m.peer:
		return io.ErrClosedPipe
	}
}

func (m *memory) Receive() (Message, error) {
	select {
	case message := <-m.in:
		return message, nil
	case <-m.closed:
		return Message{}, os.ErrClosed
	case <-m.peer:
	}
	select { // what was sent before the end
	case message := <-m.in:
		return message, nil
	default:
		return Message{}, io.EOF
	}
}

func (m *memory) Close() {
	m.once.Do(func() { close(m.closed) })
	if m.ended != nil {
		select {
		case <-m.ended:
		case <-time.After(exitPatience):
		}
	}
}

func (m *memory) String() string { return m.name }
