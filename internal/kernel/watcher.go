package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/metrics"
)

// Watcher looks at all TCP sockets in the network namespace of the thread that made it. One goroutine
// uses it, locked to its thread.
type Watcher struct {
	net      *Net
	census   *sockdiag.Census
	host     metrics.Host // the part that decides how many ports there are
	uses     map[sockdiag.Space]sockdiag.Use
	previous Counters
	now      Counters
	last     time.Time
}

// NewWatcher returns a watcher whose first rates count from now.
func NewWatcher(now time.Time) (*Watcher, error) {
	n, err := OpenNet()
	if err != nil {
		return nil, fmt.Errorf("watch the kernel: %w", err)
	}
	c, err := sockdiag.OpenCensus()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch the kernel: %w", err), n.Close())
	}
	w := &Watcher{net: n, census: c, uses: map[sockdiag.Space]sockdiag.Use{}, last: now}
	w.host.Sysctls = sysinfo.Sysctls()
	if err := n.Counters(&w.now); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the kernel: %w", err), w.Close())
	}
	w.previous = w.now.clone()
	return w, nil
}

// Close closes the files of the watcher.
func (w *Watcher) Close() error { return errors.Join(w.net.Close(), w.census.Close()) }

// Look makes a census of all sockets. It lists at most most spaces, the fullest first.
func (w *Watcher) Look(now time.Time, most int) (metrics.Moment, error) {
	m := metrics.Moment{Time: now, States: map[string]int{}, Listeners: []metrics.Listening{}, Destinations: []metrics.Destination{}}
	began := threadTime()
	listeners, err := w.census.Listeners(nil)
	if err != nil {
		return m, err
	}
	w.host.Listening = sockdiag.PortList(sockdiag.PortsOf(listeners))
	m.Ports = w.host.LocalPorts()
	var servers []netip.AddrPort
	for _, l := range listeners {
		servers = append(servers, l.Addr)
	}
	population, left, err := w.census.All(sockdiag.ServersAt(servers), w.uses)
	if err != nil {
		return m, err
	}
	m.CensusNS = int64(threadTime() - began)
	for _, side := range population {
		for state, n := range side {
			if n > 0 {
				m.States[sockdiag.State(state).String()] += n
			}
		}
	}
	m.Listeners = queues(listeners)
	m.Spaces, m.SpacesLeft = len(w.uses), left
	m.Destinations = w.fullest(most, m.Ports)
	if err := w.net.Counters(&w.now); err != nil {
		return m, fmt.Errorf("watch the kernel: %w", err)
	}
	m.Rates = map[string]map[string]float64{}
	took := now.Sub(w.last).Seconds()
	for group, names := range w.now.Sub(w.previous) {
		if took <= 0 {
			break
		}
		m.Rates[group] = map[string]float64{}
		for name, n := range names {
			if name == "CurrEstab" { // a number of sockets, which States has
				continue
			}
			m.Rates[group][name] = float64(n) / took
		}
	}
	w.previous.copy(w.now)
	w.last = now
	return m, nil
}

// fullest lists the spaces with the most ports in use, of so many ports each.
func (w *Watcher) fullest(most, ports int) []metrics.Destination {
	all := make([]metrics.Destination, 0, len(w.uses))
	for _, s := range slices.SortedFunc(maps.Keys(w.uses), func(a, b sockdiag.Space) int {
		return cmp.Or(cmp.Compare(w.uses[b].Total(), w.uses[a].Total()), a.Target.Compare(b.Target), a.Source.Compare(b.Source))
	}) {
		if len(all) == most {
			break
		}
		u := w.uses[s]
		all = append(all, metrics.Destination{
			Source: s.Source.String(), Target: s.Target.String(), TimeWait: u.TimeWait, Other: u.Other,
			Left: max(0, ports-u.Total()),
		})
	}
	return all
}

// queues joins the sockets that listen at the same address, in the order of their ports.
func queues(listeners []sockdiag.Listener) []metrics.Listening {
	slices.SortStableFunc(listeners, func(a, b sockdiag.Listener) int {
		return cmp.Or(cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Addr().Compare(b.Addr.Addr()))
	})
	all := []metrics.Listening{}
	for i, l := range listeners {
		if i == 0 || listeners[i-1].Addr != l.Addr {
			all = append(all, metrics.Listening{Addr: l.Addr.String()})
		}
		q := &all[len(all)-1]
		q.Sockets++
		q.Waiting += l.Queue
		if q.Fullest = max(q.Fullest, l.Queue); l.Limit > q.Limit {
			q.Limit = l.Limit
		}
	}
	return all
}
