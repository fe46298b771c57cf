package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Type says what a message is about.
type Type string

// The messages. A coordinator sends the first five, an agent the others.
const (
	Prepare Type = "prepare" // take this role, as its spec says
	Start   Type = "start"   // begin at this instant
	Tell    Type = "tell"    // a word that the role knows
	Sample  Type = "sample"  // report what was used and counted so far
	Stop    Type = "stop"    // end in order, with a result

	Ready   Type = "ready"   // the answer to Prepare
	Event   Type = "event"   // what the role reports unasked
	Sampled Type = "sampled" // the answer to Sample
	Done    Type = "done"    // the role has ended: the result
	Failed  Type = "failed"  // the role cannot go on
)

// Message is one line of the protocol. Only the fields of its type are set.
type Message struct {
	Type  Type            `json:"type"`
	Role  string          `json:"role,omitempty"` // of Prepare
	At    time.Time       `json:"at,omitzero"`    // of Start; zero = now
	Word  string          `json:"word,omitempty"` // of Tell
	Usage *Usage          `json:"usage,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"` // in the role's own terms
	Error string          `json:"error,omitempty"`
}

// Usage is what the process of an agent has used since it began.
type Usage struct {
	UserNS   int64  `json:"user_ns"`
	SystemNS int64  `json:"system_ns"`
	MaxRSS   uint64 `json:"max_rss"`
}

// with returns the message with a body. A nil body is left out.
func (m Message) with(body any) (Message, error) {
	if body == nil {
		return m, nil
	}
	var err error
	if m.Body, err = json.Marshal(body); err != nil {
		return m, fmt.Errorf("%s: %w", m.Type, err)
	}
	return m, nil
}

// Into decodes the body of a message. A message without one is an error.
func (m Message) Into(body any) error {
	if len(m.Body) == 0 {
		return fmt.Errorf("%q without its content", m.Type)
	}
	if err := json.Unmarshal(m.Body, body); err != nil {
		return fmt.Errorf("the content of %q: %w", m.Type, err)
	}
	return nil
}

// Conn carries messages between a coordinator and one agent, in order. Send may be called
// by several goroutines, Receive by one.
type Conn interface {
	Send(Message) error
	// Receive returns the next message. io.EOF means that the other side has closed.
	Receive() (Message, error)
	// Close ends the exchange, and on the coordinator's side the agent. It returns when the
	// agent has ended.
	Close()
	// String names the agent: "server (process 17)".
	String() string
}

// pipe is a Conn over a byte stream: one JSON document a line.
type pipe struct {
	mu      sync.Mutex
	encoder *json.Encoder
	decoder *json.Decoder
	stream  io.ReadWriteCloser
}

func newPipe(stream io.ReadWriteCloser) *pipe {
	return &pipe{encoder: json.NewEncoder(stream), decoder: json.NewDecoder(stream), stream: stream}
}

func (p *pipe) Send(m Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.encoder.Encode(m); err != nil {
		return fmt.Errorf("send %s: %w", m.Type, err)
	}
	return nil
}

func (p *pipe) Receive() (Message, error) {
	var m Message
	switch err := p.decoder.Decode(&m); err {
	case nil, io.EOF:
		return m, err
	default:
		return m, fmt.Errorf("receive: %w", err)
	}
}

func (p *pipe) Close() { _ = p.stream.Close() }

func (p *pipe) String() string { return "coordinator" }
