package sockets

import (
	"bytes"
	"tcpbench/loadgen"
)

// rotation makes the requests of one loop, one template after the other.
type rotation struct {
	templates []loadgen.Template
	// buffers have the text of each template. Fields are filled in place, so one holds the
	// request that was made last, of whichever connection.
	buffers [][]byte
	// numbers are by slot the number of the request that is being sent, counted by the loop
	// from 1; zero between requests. A request that the kernel takes in parts is made again
	// for each part.
	numbers       []uint64
	last          uint64 // the number that was given last
	place, places uint64
	seed          uint64
}

func newRotation(r *run, id int, slots uint64) *rotation {
	if len(r.Lifecycle.Rotation) == 0 {
		return nil
	}
	own := &rotation{
		templates: r.Lifecycle.Rotation, numbers: make([]uint64, slots),
		place: uint64(r.Place(id)), places: uint64(r.Places()), seed: r.Seed,
	}
	for _, t := range own.templates {
		text := t.Text
		if len(t.Fields) > 0 {
			text = bytes.Clone(text)
		}
		own.buffers = append(own.buffers, text)
	}
	return own
}

// request returns the request that a connection is sending, the next one if none is begun.
// It is valid until the next call.
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

// done: the request is sent, or its connection has ended.
func (r *rotation) done(slot int32) {
	if r != nil {
		r.numbers[slot] = 0
	}
}
