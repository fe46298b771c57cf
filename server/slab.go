package server

// slab hands out connections without allocating: as many as were ever open at
// once exist, in blocks. It belongs to one loop.
type slab struct{ free *conn }

const blockSize = 256

func (s *slab) take() *conn {
	if s.free == nil {
		block := make([]conn, blockSize)
		for i := range block {
			s.give(&block[i])
		}
	}
	c := s.free
	s.free = c.next
	c.next = nil
	return c
}

func (s *slab) give(c *conn) {
	*c = conn{}
	c.next = s.free
	s.free = c
}
