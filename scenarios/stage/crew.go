package stage

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/metrics"
	"tcpbench/server"
)

// CrewSize is the number of client processes that a run needs, and as many servers of its
// own: one process may have only so many descriptors, and a server keeps some for itself.
func (p *Plan) CrewSize() int {
	connections, most := p.Client.Connections, MostConnections()
	if p.Server != nil && connections > p.mostServed(p.Server.Loops) {
		// Of several each has one loop. Where even that has no room the server says why.
		if one := p.mostServed(1); one > 0 {
			return max(2, (connections+one-1)/one)
		}
	}
	return max(1, (connections+most-1)/most)
}

// mostServed is how many connections a server of the run's own has descriptors for; there may
// be too few for its own sockets.
func (p *Plan) mostServed(loops int) int {
	return min(MostConnections(), server.Most(MostConnections()+SpareDescriptors, loops, len(p.Server.Addrs)))
}

func (s *stage) close() {
	var group sync.WaitGroup
	for _, p := range slices.Concat(s.clients, s.servers) {
		group.Go(p.Close)
	}
	group.Wait()
}

// startServers starts the run's own servers, each with the ports that the plan names or
// one that is free, and aims the clients at them.
func (s *stage) startServers() error {
	if s.plan.Server == nil {
		return nil
	}
	n := s.plan.CrewSize()
	for i := range n {
		cfg := *s.plan.Server
		if n > 1 {
			cfg.Loops, cfg.Addrs = 1, part(cfg.Addrs, i, n)
		}
		p, err := agent.Spawn("server", s.plan.at(Server))
		if err != nil {
			return err
		}
		s.servers = append(s.servers, p)
		ready, err := p.AskWithin(agent.StartPatience, agent.Message{Type: agent.Prepare, Server: &cfg}, agent.Ready)
		if err != nil {
			return err
		}
		s.owned = append(s.owned, ready.Addrs)
	}
	s.plan.Client.Targets = slices.Concat(s.owned...)
	return nil
}

// part is the i-th of n parts of addresses, of which there are n or more (checkPorts). One with
// a port that is not chosen serves all.
func part(addrs []netip.AddrPort, i, n int) (own []netip.AddrPort) {
	if len(addrs) == 1 && addrs[0].Port() == 0 {
		return addrs
	}
	for ; i < len(addrs); i += n {
		own = append(own, addrs[i])
	}
	return own
}

// startClients starts as many clients as the connections need. Each has its part of the
// load; with several servers of our own each client has one to itself.
func (s *stage) startClients() error {
	if s.plan.Client.Sources == nil {
		s.plan.Client.Sources = s.plan.sources(s.plan.Client.Targets)
	}
	n := s.plan.CrewSize()
	for i := range n {
		cfg := s.plan.Client
		if n > 1 {
			cfg.Part, cfg.Parts = i, n
			cfg.Loops = max(1, cfg.Loops/n)
			if len(s.servers) > 1 {
				cfg.Targets = s.owned[i]
			}
		}
		p, err := agent.Spawn("client", s.plan.at(Client))
		if err != nil {
			return err
		}
		s.clients = append(s.clients, p)
		if _, err := p.AskWithin(agent.StartPatience, agent.Message{Type: agent.Prepare, Client: &cfg}, agent.Ready); err != nil {
			return err
		}
	}
	return nil
}

// saying is a message, or the end, of one client.
type saying struct {
	agent.Message
	from int
	err  error
}

// listen passes on what a client says until it is done, or until nobody asks any more.
func (s *stage) listen(client int, said chan<- saying, left <-chan struct{}) {
	for {
		m, err := s.clients[client].Receive()
		select {
		case said <- saying{m, client, err}:
		case <-left:
			return
		}
		if err != nil || m.Type == agent.Done {
			return
		}
	}
}

// silencePatience is how long a client may say nothing: it tells of each second of the measured
// time, but may be starved, or issue a burst of a million connections.
const silencePatience = time.Minute

// silence counts, by client, for how many ticks of a second it has said nothing. Ticks that this
// process was too busy or too stopped to take do not count, so it is no clock that decides.
type silence []int

// tick is an error if a client has been silent for longer than a run of the plan explains.
func (q silence) tick(p *Plan, clients []*agent.Process) error {
	patience := silencePatience + p.Client.Warmup
	if p.Freeze != nil {
		patience += p.Freeze.For
	}
	for i, c := range clients {
		if q[i]++; time.Duration(q[i]) > patience/time.Second {
			return fmt.Errorf("%v has said nothing for %v, though it tells of every second: was it stopped (SIGSTOP), or without a processor? Its counts are lost", c, patience)
		}
	}
	return nil
}

// tell sends a message without content to every client.
func (s *stage) tell(t agent.Type) error {
	var errs []error
	for _, p := range s.clients {
		errs = append(errs, p.Send(agent.Message{Type: t}))
	}
	return errors.Join(errs...)
}

// sample asks the servers what they have used and counted, and gives nil if one of them is
// ours no more.
func (s *stage) sample() *agent.Usage {
	if len(s.servers) == 0 || s.serverLost != nil {
		return nil
	}
	// All at once: each may take its time, and the run waits for it.
	answers, errs := make([]agent.Message, len(s.servers)), make([]error, len(s.servers))
	var group sync.WaitGroup
	for i, p := range s.servers {
		group.Go(func() {
			answers[i], errs[i] = p.AskWithin(s.patience, agent.Message{Type: agent.Sample}, agent.Sampled)
		})
	}
	group.Wait()
	if s.serverLost = errors.Join(errs...); s.serverLost != nil {
		return nil
	}
	total := &agent.Usage{Server: &metrics.ServerReport{}}
	for _, m := range answers {
		var err error
		total.UserNS += m.Usage.UserNS
		total.SystemNS += m.Usage.SystemNS
		total.MaxRSS += m.Usage.MaxRSS
		total.Server.Merge(*m.Usage.Server)
		if total.Histograms, err = metrics.MergeHistograms(total.Histograms, m.Usage.Histograms); err != nil {
			s.serverLost = err
			return nil
		}
	}
	return total
}
