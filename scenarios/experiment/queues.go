package experiment

// overflows is how often an accept queue was full.
func (b *bench) overflows() int64 { return b.counter(server, "TcpExt", "ListenOverflows") }

// fill makes connections that nobody accepts, one after the other, until the queue of the
// listening socket is full. It returns those that are connected, and the one that is not.
func (b *bench) fill(p uint16, most int) (all []*socket, left *socket) {
	before := b.overflows()
	for range most {
		c := b.socket(client)
		b.check(c.connect(p), "connect")
		connected := false
		b.await("an answer", func() bool {
			connected, _ = c.connected()
			return connected || b.overflows() > before
		})
		if !connected {
			return all, c
		}
		all = append(all, c)
	}
	return all, nil
}
