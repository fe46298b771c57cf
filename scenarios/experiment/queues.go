package experiment

// fill makes connections that nobody accepts, one after the other, until the queue of the
// listening socket is full. It returns those that are connected, and the one that is not.
//
// A connection that is not answered sends its SYN again, as long as it lives, so a counter of
// the whole host grows for a queue that others fill as well. What counts is that the socket
// itself drops a SYN.
func (b *bench) fill(p uint16, most int) (all []*socket, left *socket) {
	defer func(was bool) { b.blind = was }(b.blind)
	b.blind = true // there may be too many to look at each
	before := b.queue(server, p).Drops
	for range most {
		c := b.socket(client)
		b.check(c.connect(p), "connect")
		connected := false
		b.await("an answer", func() bool {
			connected, _ = c.connected()
			return connected || b.queue(server, p).Drops > before
		})
		if !connected {
			return all, c
		}
		all = append(all, c)
	}
	return all, nil
}
