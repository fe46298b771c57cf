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

// CrewSize returns the number of client processes that a run needs, and of servers of its own: a
// process may have only so many descriptors, and a server keeps some for itself.
func (p *Plan) CrewSize() int {
	connections, most := p.Client.Connections, MostConnections()
	if p.Server != nil && connections > p.mostServed(p.Server.Loops) {
		// Each of several has one loop. If even that has no room, the server says why.
		if one := p.mostServed(1); one > 0 {
			return max(2, (connections+one-1)/one)
		}
	}
	return max(1, (connections+most-1)/most)
}

// mostServed returns for how many connections the run's own server has descriptors. There may be too
// few even for its own sockets.
func (p *Plan) mostServed(loops int) int {
	return min(MostConnections(), server.Most(MostConnections()+SpareDescriptors, loops, len(p.Server.Addrs)))
}

// close ends all agents.
func (s *stage) close() {
	close(s.left)
	var group sync.WaitGroup
	for _, r := range slices.Concat(s.clients, s.servers, s.observers()) {
		group.Go(r.Close)
	}
	group.Wait()
}

// startServers starts the run's own servers, each with its ports of the plan or a free one, and
// aims the clients at them.
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
		r, addrs, err := StartServer(s.place(Server), &cfg)
		if err != nil {
			return err
		}
		s.servers, s.owned = append(s.servers, r), append(s.owned, addrs)
	}
	s.plan.Client.Targets = slices.Concat(s.owned...)
	return nil
}

// part returns the i-th of n parts of addresses, of which there are n or more. A single address
// without a port serves all: each server takes a port of its own.
func part(addrs []netip.AddrPort, i, n int) (own []netip.AddrPort) {
	if len(addrs) == 1 && addrs[0].Port() == 0 {
		return addrs
	}
	for ; i < len(addrs); i += n {
		own = append(own, addrs[i])
	}
	return own
}

// startClients starts as many clients as the connections need. Each has its part of the load, and
// if the run has several servers of its own, one of them.
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
		r, err := agent.New(s.place(Client), clientRole, cfg, nil, func(m agent.Message, err error) {
			select {
			case s.said <- saying{m, i, err}:
			case <-s.left:
			}
		})
		if err != nil {
			return err
		}
		s.clients = append(s.clients, r)
	}
	return nil
}

// saying is a message, or the end, of one client.
type saying struct {
	agent.Message
	from int
	err  error
}

// silencePatience is how long a client may say nothing. It reports each second of the measured time,
// but may get no processor, or issue a burst of a million connections.
const silencePatience = time.Minute

// silence counts for how many ticks of a second each client has said nothing. Ticks that this process
// does not take, because it is busy or stopped, do not count.
type silence []int

// tick counts a second. It returns an error if a client has been silent for longer than a run of the
// plan explains.
func (q silence) tick(p *Plan, clients []*agent.Remote) error {
	patience := silencePatience + p.Client.Warmup
	if p.Freeze != nil {
		patience += p.Freeze.For
	}
	for i, c := range clients {
		if q[i]++; time.Duration(q[i]) > patience/time.Second {
			return fmt.Errorf("%v has said nothing for %v, but it reports every second: was it stopped (SIGSTOP), or without a processor? Its counts are lost", c, patience)
		}
	}
	return nil
}

// each does something with all agents, and returns all errors.
func each(all []*agent.Remote, do func(*agent.Remote) error) error {
	var errs []error
	for _, r := range all {
		errs = append(errs, do(r))
	}
	return errors.Join(errs...)
}

// tell passes a word to every client.
func (s *stage) tell(word string) error {
	return each(s.clients, func(r *agent.Remote) error { return r.Tell(word) })
}

// sample asks the servers what they have used and counted. It returns nil if there is none, or
// if one has been lost.
func (s *stage) sample() *ServerUsage {
	if len(s.servers) == 0 || s.serverLost != nil {
		return nil
	}
	// All at once: each may take its time, and the run waits for it.
	answers, errs := make([]*ServerUsage, len(s.servers)), make([]error, len(s.servers))
	var group sync.WaitGroup
	for i, r := range s.servers {
		group.Go(func() { answers[i], errs[i] = SampleServer(r, samplePatience) })
	}
	group.Wait()
	total := &ServerUsage{Server: &metrics.ServerReport{}}
	if s.serverLost = errors.Join(errs...); s.serverLost != nil {
		return nil
	}
	for _, u := range answers {
		total.UserNS += u.UserNS
		total.SystemNS += u.SystemNS
		total.MaxRSS += u.MaxRSS
		total.Server.Merge(*u.Server)
		if total.Histograms, s.serverLost = metrics.MergeHistograms(total.Histograms, u.Histograms); s.serverLost != nil {
			return nil
		}
	}
	return total
}
