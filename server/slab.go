package server

import "github.com/panjf2000/gnet/v2"

// slab hands out connections without allocating: as many as were ever open at once exist, in
// blocks. It belongs to one loop.
type slab struct {
	free   *conn
	blocks [][]conn
}

const blockSize = 256

// link is the part of a connection that ties it to its loop.
type link struct {
	next   *conn // in the list of free ones
	socket gnet.Conn
	id     int32 // its place in the slab, and its timer
	waits  bool  // its timer is that of a timed state
	moved  bool  // to a goroutine of its own, which counts its end
}

func (s *slab) take() *conn {
	if s.free == nil {
		block := make([]conn, blockSize)
		for i := range block {
			block[i].id = int32(len(s.blocks)*blockSize + i)
			s.give(&block[i])
		}
		s.blocks = append(s.blocks, block)
	}
	c := s.free
	s.free = c.next
	c.next = nil
	return c
}

func (s *slab) give(c *conn) {
	*c = conn{link: link{id: c.id, next: s.free}}
	s.free = c
}

// size is the number of connections that exist, free ones included.
func (s *slab) size() int { return len(s.blocks) * blockSize }

// at returns the connection of an id.
func (s *slab) at(id int32) *conn { return &s.blocks[id/blockSize][id%blockSize] }
