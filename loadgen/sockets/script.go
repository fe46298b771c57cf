package sockets

import (
	"bytes"
	"slices"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// script is the lifecycle in the form that a loop plays it in.
type script struct {
	first     []byte // the first request, or all of a pipeline
	again     []byte // each further one
	rotation  *rotation
	exchanges uint32
	perSend   uint16 // requests in first
	until     ending // of a response
	hello     ending // of the answer to the hello
	refusable bool   // a tcpbench server may say why it refuses: the request asks for it
}

func newScript(r *run, place int, slots uint64) script {
	life := &r.Lifecycle
	s := script{
		first: life.Request, again: life.Again, exchanges: max(1, life.Exchanges), perSend: 1,
		until: newEnding(life.Response), rotation: newRotation(r, place, slots),
	}
	header, err := wire.Parse(life.Request)
	s.refusable = err == nil && header.Refusals
	if life.Pipeline {
		s.perSend = uint16(s.exchanges)
		s.first = slices.Concat(life.Request, bytes.Repeat(life.Again, int(s.exchanges)-1))
	}
	if life.Hello != nil {
		s.hello = newEnding(life.Hello.Response)
	}
	return s
}

// request is what the connection in a slot sends: its first request, or a further one.
func (s *script) request(slot int32, further bool) []byte {
	switch {
	case s.rotation != nil:
		return s.rotation.request(slot)
	case further:
		return s.again
	}
	return s.first
}

// rotation makes the requests of one loop, one template after the other.
type rotation struct {
	templates []loadgen.Template
	// buffers have the text of each template. Fields are filled in place, so a buffer holds the
	// request that was made last, of whichever connection.
	buffers [][]byte
	// numbers are, by slot, the number of the request that is being sent, counted by the loop
	// from 1; zero between requests. A request that the kernel takes in parts is made again for
	// each part.
	numbers             []uint64
	last                uint64 // number given
	place, places, seed uint64
}

func newRotation(r *run, place int, slots uint64) *rotation {
	if len(r.Lifecycle.Rotation) == 0 {
		return nil
	}
	own := &rotation{
		templates: r.Lifecycle.Rotation, numbers: make([]uint64, slots),
		place: uint64(place), places: uint64(r.Places()), seed: r.Seed,
	}
	for _, t := range own.templates {
		own.buffers = append(own.buffers, bytes.Clone(t.Text))
	}
	return own
}

// request returns the request that a connection is sending, or else the next one. It is valid
// until the next call.
func (r *rotation) request(slot int32) []byte {
	if r.numbers[slot] == 0 {
		r.last++
		r.numbers[slot] = r.last
	}
	k := r.numbers[slot] - 1
	// Loops begin with different templates, so that one request each is a rotation, too.
	i := (k + r.place) % uint64(len(r.templates))
	b := r.buffers[i]
	// Of n loops loop i makes the requests i, i+n, i+2n, …
	r.templates[i].Fill(b, r.seed, k*r.places+r.place)
	return b
}

// done notes that the request is sent, or its connection has ended.
func (r *rotation) done(slot int32) {
	if r != nil {
		r.numbers[slot] = 0
	}
}
