package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net"
	"reflect"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// full is one message of every type, with every field of its own set to something that a
// careless encoding would lose.
func full() []Message {
	body := json.RawMessage(`{"text":"\u0000\r\n\u2028"}`)
	return []Message{
		{Type: Prepare, Role: "client <&>", Body: body},
		{Type: Start, At: time.Unix(1, 2).UTC()},
		{Type: Tell, Word: "hold"},
		{Type: Sample},
		{Type: Stop},
		{Type: Ready, Body: body},
		{Type: Event, Body: body},
		{Type: Sampled, Usage: &Usage{UserNS: math.MaxInt64, SystemNS: 1, MaxRSS: math.MaxUint64}, Body: body},
		{Type: Done, Body: body},
		{Type: Failed, Error: "first line\nsecond \"line\" \x1b"},
	}
}

// stream makes a pipe of two halves.
type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

// What one side sends the other receives, however the bytes are cut.
func TestRoundTrip(t *testing.T) {
	cuts := map[string]func(io.Reader) io.Reader{
		"whole":       func(r io.Reader) io.Reader { return r },
		"one byte":    iotest.OneByteReader,
		"halves":      iotest.HalfReader,
		"end at once": iotest.DataErrReader,
	}
	for name, cut := range cuts {
		var b bytes.Buffer
		sender := newPipe(stream{Writer: &b})
		for _, m := range full() {
			if err := sender.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		receiver := newPipe(stream{Reader: cut(&b)})
		for _, want := range full() {
			got, err := receiver.Receive()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: received %+v, %v, want %+v", name, got, err, want)
			}
		}
		if _, err := receiver.Receive(); err != io.EOF {
			t.Errorf("%s: after the last message: %v, want io.EOF", name, err)
		}
	}
}

// Send may be called by several goroutines: no message is torn.
func TestSendIsAtomic(t *testing.T) {
	r, w := io.Pipe()
	sender, receiver := newPipe(stream{Writer: w}), newPipe(stream{Reader: r})
	const senders, each = 8, 50
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range each {
				if err := sender.Send(full()[0]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		sending.Wait()
		w.Close()
	}()
	n := 0
	for ; ; n++ {
		m, err := receiver.Receive()
		if err == io.EOF {
			break
		}
		if err != nil || m.Type != Prepare {
			t.Fatalf("message %d: %+v, %v", n, m, err)
		}
	}
	if n != senders*each {
		t.Errorf("%d messages came of %d", n, senders*each)
	}
}

// speaker is a Place whose agents say something, whatever they are told.
type speaker string

func (s speaker) Start(string) (Conn, error) {
	ours, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	go func() {
		_, _ = io.WriteString(theirs, string(s))
		theirs.Close()
	}()
	return newPipe(ours), nil
}

// What a coordinator is told of an agent that does not keep to the protocol.
func TestCoordinatorIsToldNonsense(t *testing.T) {
	for text, want := range map[string]string{
		"Hello!\n":                             `receive: invalid character 'H'`,
		`{"type":"rea`:                         `receive: unexpected EOF`,
		"":                                     `has ended`,
		`{"type":"ready"}` + "\n":              `^server: "ready" without its content$`,
		`{"type":"ready","body":7}` + "\n":     `^server: the content of "ready": json: cannot unmarshal number`,
		`{"type":"failed","error":"no luck"}`:  `^server: no luck$`,
		`{"type":"event","body":{}}` + "\n":    `has ended`, // an event is no answer
		`{"type":"sampled","usage":{}}` + "\n": `^server: said "sampled", expected "ready"$`,
	} {
		if _, err := New(speaker(text), "server", spec{}, &spec{}, nil); !matches(err, want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// Whatever comes over the socket: an error or a message that can be sent again, an end in the
// end, and no panic.
func FuzzReceive(f *testing.F) {
	for _, m := range full() {
		var b bytes.Buffer
		if err := newPipe(stream{Writer: &b}).Send(m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
		f.Add(append(b.Bytes(), b.Bytes()...))
	}
	for _, text := range []string{
		"", "\n", "{}", "null", "[]", "0", `"ready"`, "}{", "\x00\xff", `{"type":7}`, `{"type":"dance"}`, `{"type":"done","body":null}`,
		`{"type":"sampled","usage":{"user_ns":1e99}}`, `{"type":"start","at":"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p := newPipe(stream{Reader: bytes.NewReader(text)})
		for range len(text) + 1 {
			m, err := p.Receive()
			if err != nil {
				if err != io.EOF && !matches(err, "^receive: ") {
					t.Fatalf("error %q does not say where it comes from", err)
				}
				return
			}
			again(t, m)
		}
		t.Fatal("more messages than bytes")
	})
}

// again checks that a message that was received can be sent, and comes as the same.
func again(t *testing.T, m Message) {
	var first, second bytes.Buffer
	if err := newPipe(stream{Writer: &first}).Send(m); err != nil {
		return // a value that cannot be written, as a year of five digits
	}
	text := first.String()
	m, err := newPipe(stream{Reader: &first}).Receive()
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if err := newPipe(stream{Writer: &second}).Send(m); err != nil || second.String() != text {
		t.Fatalf("sent again it is %s, first it was %s", second.String(), text)
	}
}
