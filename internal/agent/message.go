package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/server"
)

// Type says what a message is about.
type Type string

// The messages. A coordinator sends the first seven, a child the others.
const (
	Prepare Type = "prepare" // be a client or a server of this configuration
	Start   Type = "start"   // a client: begin
	Sample  Type = "sample"  // say what you have used and counted so far
	Mark    Type = "mark"    // a server: the warm-up is over then, or is now
	Begin   Type = "begin"   // a client whose population is there: begin the hold
	Upper   Type = "upper"   // a client: half of a range of local ports is taken from here on
	Stop    Type = "stop"    // end in order, and send the result

	Ready    Type = "ready"    // prepared; a server listens
	Phase    Type = "phase"    // a client has entered a phase of its run
	Interval Type = "interval" // one second of a client's run
	Sampled  Type = "sampled"  // the answer to Sample
	Done     Type = "done"     // a client's run is over: the result
	Failed   Type = "failed"   // it cannot go on
)

// Message is one line of the protocol. Only the fields of its type are set.
type Message struct {
	Type     Type                  `json:"type"`
	Client   *loadgen.Config       `json:"client,omitempty"`
	Server   *server.Config        `json:"server,omitempty"`
	Addrs    []netip.AddrPort      `json:"addrs,omitempty"`
	Phase    loadgen.Phase         `json:"phase,omitempty"`
	At       time.Time             `json:"at,omitzero"` // of Mark; of a warm-up's Phase, when it is over
	Interval *metrics.Interval     `json:"interval,omitempty"`
	Usage    *Usage                `json:"usage,omitempty"`
	Report   *metrics.ClientReport `json:"report,omitempty"`
	Error    string                `json:"error,omitempty"`
}

// Usage is what a process has used since it began, and what a server has counted since the
// warm-up was over, or since it began if there was none.
type Usage struct {
	UserNS   int64                 `json:"user_ns"`
	SystemNS int64                 `json:"system_ns"`
	MaxRSS   uint64                `json:"max_rss"`
	Server   *metrics.ServerReport `json:"server,omitempty"`
	// Histograms are what only a server can measure.
	Histograms map[string]metrics.Histogram `json:"histograms,omitempty"`
}

// Conn carries messages, one JSON document a line. Send may be called by several
// goroutines, Receive by one.
type Conn struct {
	mu      sync.Mutex
	encoder *json.Encoder
	decoder *json.Decoder
}

// NewConn speaks the protocol over rw.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{encoder: json.NewEncoder(rw), decoder: json.NewDecoder(rw)}
}

// Send writes one message.
func (c *Conn) Send(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.encoder.Encode(m); err != nil {
		return fmt.Errorf("send %s: %w", m.Type, err)
	}
	return nil
}

// Receive reads the next message. io.EOF, bare, means that the other side is gone.
func (c *Conn) Receive() (Message, error) {
	var m Message
	if err := c.decoder.Decode(&m); err != nil {
		if err == io.EOF {
			return m, err
		}
		return m, fmt.Errorf("receive: %w", err)
	}
	if !m.whole() {
		return m, fmt.Errorf("receive: %q without its content", m.Type)
	}
	return m, nil
}

// whole tells whether the fields that a receiver of the type relies on are set.
func (m *Message) whole() bool {
	switch m.Type {
	case Prepare:
		return (m.Client != nil) != (m.Server != nil)
	case Interval:
		return m.Interval != nil
	case Sampled:
		return m.Usage != nil
	case Done:
		return m.Report != nil
	}
	return true
}
