package file

import (
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/scenarios/stage"
)

// Setup is a lab as a scenario wants it.
type Setup struct {
	Link           lab.Link
	Client, Server []machine.Setting
	// Timeline is what becomes of the link while the load runs, in order.
	Timeline []stage.Moment
}

// on is the setup with what another says on top.
func (s Setup) on(other Setup) Setup {
	link := s.Link
	if other.Link.ToServer.String() != "" {
		link.ToServer = other.Link.ToServer
	}
	if other.Link.ToClient.String() != "" {
		link.ToClient = other.Link.ToClient
	}
	timeline := s.Timeline
	if len(other.Timeline) > 0 {
		timeline = other.Timeline
	}
	return Setup{
		Link: link, Timeline: timeline,
		Client: append(s.Client[:len(s.Client):len(s.Client)], other.Client...), Server: append(s.Server[:len(s.Server):len(s.Server)], other.Server...),
	}
}

// readSetup takes the key lab.
func readSetup(root mapping) (s Setup, err error) {
	n, ok := root.find("lab")
	if !ok {
		return s, nil
	}
	m, err := n.mapping("settings of the hosts, and what becomes of packets between them")
	if err != nil {
		return s, err
	}
	if err := m.only("settings", "client", "server", "to-server", "to-client", "sequences", "timeline"); err != nil {
		return s, err
	}
	for _, part := range []struct {
		key string
		to  []*[]machine.Setting
	}{{"settings", []*[]machine.Setting{&s.Client, &s.Server}}, {"client", []*[]machine.Setting{&s.Client}}, {"server", []*[]machine.Setting{&s.Server}}} {
		settings, err := sysctls(m, part.key)
		if err != nil {
			return s, err
		}
		for _, list := range part.to {
			*list = append(*list, settings...)
		}
	}
	toServer, toClient, err := impairments(m)
	if err != nil {
		return s, err
	}
	if toServer != nil {
		s.Link.ToServer = *toServer
	}
	if toClient != nil {
		s.Link.ToClient = *toClient
	}
	follow, err := m.text("sequences")
	if err != nil {
		return s, err
	}
	if s.Link.Sequences = follow == "true"; follow != "" && !s.Link.Sequences {
		return s, m.errorAt("sequences", "%q: want true, or leave it out", follow)
	}
	s.Timeline, err = readTimeline(m)
	return s, err
}

// impairments reads those of both directions; nil is one that is not there.
func impairments(m mapping) (toServer, toClient *lab.Impairment, err error) {
	for key, to := range map[string]**lab.Impairment{"to-server": &toServer, "to-client": &toClient} {
		if _, ok := m.find(key); !ok {
			continue
		}
		text, err := m.text(key)
		if err != nil {
			return nil, nil, err
		}
		i, err := lab.ParseImpairment(text)
		if err != nil {
			return nil, nil, m.errorAt(key, "%v", err)
		}
		*to = &i
	}
	return toServer, toClient, nil
}

// readTimeline reads what becomes of the link when.
func readTimeline(m mapping) (all []stage.Moment, err error) {
	items, err := m.list("timeline")
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		step, err := item.mapping("a moment and what changes, as in {at: 2s, to-server: loss=100%}")
		if err != nil {
			return nil, err
		}
		if err := step.only("at", "to-server", "to-client"); err != nil {
			return nil, err
		}
		var moment stage.Moment
		text, err := step.text("at")
		if err != nil {
			return nil, err
		}
		if moment.At, err = time.ParseDuration(text); err != nil || moment.At < 0 {
			return nil, step.errorf("a moment has a time: add at, as in at: 2s")
		}
		if len(all) > 0 && all[len(all)-1].At > moment.At {
			return nil, step.errorAt("at", "%v comes behind %v: put the earlier one first", moment.At, all[len(all)-1].At)
		}
		if moment.ToServer, moment.ToClient, err = impairments(step); err != nil {
			return nil, err
		}
		for key, i := range map[string]*lab.Impairment{"to-server": moment.ToServer, "to-client": moment.ToClient} {
			if i != nil && (i.Delay > 0 || i.Rate > 0) {
				return nil, step.errorAt(key, "delay and rate are for the whole run: only loss, every and drop can change")
			}
		}
		all = append(all, moment)
	}
	return all, nil
}
