package file

import (
	"slices"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/scenarios/stage"
)

// Setup is a lab as a scenario wants it.
type Setup struct {
	Link           lab.Link
	Client, Server []machine.Setting
	// Timeline says how the link changes while the load runs, in order.
	Timeline []stage.Moment
}

// on is the setup with what another says on top.
func (s Setup) on(other Setup) Setup {
	if other.Link.ToServer.String() != "" {
		s.Link.ToServer = other.Link.ToServer
	}
	if other.Link.ToClient.String() != "" {
		s.Link.ToClient = other.Link.ToClient
	}
	if len(other.Timeline) > 0 {
		s.Timeline = other.Timeline
	}
	s.Client, s.Server = slices.Concat(s.Client, other.Client), slices.Concat(s.Server, other.Server)
	return s
}

// read reads the key lab.
func (s *Setup) read(n node) error {
	m, err := n.mapping("settings of the hosts, and what becomes of packets between them")
	if err != nil {
		return err
	}
	return m.read(
		field{"settings", sysctls(&s.Client, &s.Server)}, field{"client", sysctls(&s.Client)}, field{"server", sysctls(&s.Server)},
		field{"to-server", impairment(&s.Link.ToServer)}, field{"to-client", impairment(&s.Link.ToClient)},
		field{"sequences", yes(&s.Link.Sequences)}, field{"timeline", list(s.readMoment)},
	)
}

// sysctls reads a mapping of kernel settings, and appends them to each list.
func sysctls(to ...*[]machine.Setting) reader {
	return entries("kernel settings, as in net.ipv4.tcp_tw_reuse: 0", func(name string) reader {
		return scalar(func(value string) error {
			s, err := machine.ParseSetting(name + " = " + value)
			for _, all := range to {
				*all = append(*all, s)
			}
			return err
		})
	})
}

func impairment(to *lab.Impairment) reader {
	return scalar(func(text string) (err error) {
		*to, err = lab.ParseImpairment(text)
		return err
	})
}

// readMoment reads a change of the link.
func (s *Setup) readMoment(n node) error {
	m, err := n.mapping("a moment and what changes, as in {at: 2s, to-server: loss=100%}")
	if err != nil {
		return err
	}
	moment := stage.Moment{At: -1}
	change := func(to **lab.Impairment) reader {
		return func(n node) error {
			i := new(lab.Impairment)
			*to = i
			if err := impairment(i)(n); err != nil {
				return err
			}
			if i.Delay > 0 || i.Rate > 0 {
				return n.errorf("delay and rate are for the whole run: only loss, every and drop can change")
			}
			return nil
		}
	}
	err = m.read(
		field{"at", scalar(func(text string) error {
			if at, err := time.ParseDuration(text); err == nil {
				moment.At = at
			}
			return nil
		})},
		field{"to-server", change(&moment.ToServer)}, field{"to-client", change(&moment.ToClient)},
	)
	switch last := len(s.Timeline) - 1; {
	case err != nil:
		return err
	case moment.At < 0:
		return m.errorf("a moment has a time: add at, as in at: 2s")
	case last >= 0 && s.Timeline[last].At > moment.At:
		return m.values["at"].errorf("%v comes after %v: put the earlier one first", s.Timeline[last].At, moment.At)
	}
	s.Timeline = append(s.Timeline, moment)
	return nil
}
