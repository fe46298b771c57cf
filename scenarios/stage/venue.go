package stage

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/internal/pcap"
	"tcpbench/metrics"
)

// Venue is a lab whose hosts have the settings of a profile.
type Venue struct {
	*lab.Lab
	// Report says what became of each setting.
	Report metrics.Lab
	// Unwritable are settings that cannot be changed only because of how /proc/sys is mounted.
	Unwritable []machine.Report

	// Timeline is what becomes of the link while a load runs.
	Timeline []Moment

	client, server *machine.Profile
	machine        *machine.Machine // whose settings were changed; nil is none
	unwatch        func() error     // ends a capture; nil is none
}

// Record has the packets of the lab written until Close.
func (v *Venue) Record(c *pcap.Capture) (err error) {
	v.unwatch, err = v.Lab.Record(c)
	return err
}

// sideOf is one of the two hosts of a venue.
type sideOf struct {
	name    string
	host    *lab.Host
	profile *machine.Profile
	report  *metrics.LabHost
}

func (v *Venue) sides() [2]sideOf {
	return [2]sideOf{{"client", v.Client, v.client, &v.Report.Client}, {"server", v.Server, v.server, &v.Report.Server}}
}

// ChangeMachine sets on the machine itself, until Close, what no namespace has of its own.
func (v *Venue) ChangeMachine(m *machine.Machine) error {
	values := map[string]string{}
	var settings []machine.Setting
	for _, h := range v.sides() {
		for _, s := range h.report.Settings {
			switch value, known := values[s.Key]; {
			case !ofMachine(s):
			case !known:
				values[s.Key] = s.Value
				settings = append(settings, machine.Setting{Key: s.Key, Value: s.Value})
			case value != s.Value:
				return fmt.Errorf("%s cannot be %s for the client and %s for the server: it is the machine's", s.Key, value, s.Value)
			}
		}
	}
	if len(settings) == 0 {
		return nil
	}
	reports, err := m.Change(settings)
	if !errors.Is(err, machine.ErrJournal) { // then another run has changed the machine, and puts it back
		v.machine = m
	}
	if err != nil {
		return err
	}
	for _, h := range v.sides() {
		for i := range h.report.Settings {
			for _, r := range reports {
				if s := &h.report.Settings[i]; s.Key == r.Key {
					s.Outcome, s.Now, s.Why = string(r.Outcome), r.Now, r.Why
				}
			}
		}
	}
	return nil
}

// ofMachine tells whether a setting can be changed on the machine alone.
func ofMachine(s metrics.LabSetting) bool {
	return (s.Outcome == string(machine.Global) || s.Outcome == string(machine.ReadOnly)) && s.Now != s.Value
}

// OfMachine are the keys that ChangeMachine would change.
func (v *Venue) OfMachine() (keys []string) {
	for _, h := range v.sides() {
		for _, s := range h.report.Settings {
			if ofMachine(s) && !slices.Contains(keys, s.Key) {
				keys = append(keys, s.Key)
			}
		}
	}
	return keys
}

// Close puts the machine back as it was, and closes the lab.
func (v *Venue) Close() error {
	var restored, captured error
	if v.machine != nil {
		_, restored = v.machine.Restore()
		v.machine = nil
	}
	if v.unwatch != nil {
		captured = v.unwatch()
		v.unwatch = nil
	}
	return errors.Join(restored, captured, v.Lab.Close())
}

// broken receives an error when the lab's link fails; it is nil without a lab.
func (v *Venue) broken() <-chan error {
	if v == nil {
		return nil
	}
	return v.Broken()
}

// brokenLink says what has failed, so that nobody takes it for a server that does not answer.
func brokenLink(err error) error { return fmt.Errorf("the lab's link has failed: %w", err) }

// NewVenue makes a lab with a link, and gives its hosts their settings.
func NewVenue(link lab.Link, client, server *machine.Profile) (*Venue, error) {
	l, err := lab.New(link)
	if err != nil {
		return nil, err
	}
	v := &Venue{Lab: l, client: client, server: server}
	for _, h := range v.sides() {
		reports, err := machine.Apply(h.host, h.profile)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("profile %s: %w", h.profile.Name, err), l.Close())
		}
		h.report.Profile, h.report.Settings = h.profile.Name, []metrics.LabSetting{}
		for _, r := range reports {
			if r.Unwritable() {
				v.Unwritable = append(v.Unwritable, r)
			}
			h.report.Settings = append(h.report.Settings, metrics.LabSetting{
				Key: r.Key, Value: r.Value, Outcome: string(r.Outcome), Now: r.Now, Why: r.Why,
			})
		}
	}
	return v, nil
}

// Look adds to the report what both hosts have of the keys that their profiles do not set.
func (v *Venue) Look(keys []string) error {
	for _, h := range v.sides() {
		rest := slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
			return slices.ContainsFunc(h.report.Settings, func(s metrics.LabSetting) bool { return s.Key == key })
		})
		var err error
		if h.report.Values, err = machine.Read(h.host, rest); err != nil {
			return fmt.Errorf("read the settings of the lab's %s: %w", h.name, err)
		}
	}
	return nil
}

// Void is an error if a profile has settings and a host took none of them.
func (v *Venue) Void() error {
	for _, h := range v.sides() {
		reasons := ""
		for _, s := range h.report.Settings {
			if s.Effective() || s.Outcome == metrics.Changed {
				reasons = ""
				break
			}
			reasons += fmt.Sprintf("\n  %s = %s: %s", s.Key, s.Value, s.Reason())
		}
		if reasons != "" {
			return fmt.Errorf("profile %s: nothing of it could be applied, so there is nothing to compare:%s", h.profile.Name, reasons)
		}
	}
	return nil
}

// report is the lab as the result tells of it.
func (v *Venue) report() (*metrics.Lab, error) {
	toServer, toClient, err := v.Carried()
	if err != nil {
		return nil, err
	}
	r := v.Report
	for _, m := range v.Timeline {
		r.Timeline = append(r.Timeline, m.report())
	}
	r.ToServer, r.ToClient = linkReport(&v.Link.ToServer, &toServer), linkReport(&v.Link.ToClient, &toClient)
	return &r, nil
}

// linkReport is a direction of the link as the result tells of it; nil if it was perfect and
// has lost nothing.
func linkReport(how *lab.Impairment, was *lab.Carried) *metrics.LabLink {
	if how.String() == "" && len(was.Verbs) == 0 && was.RingOverflows+was.QueueOverflows+was.Refused == 0 {
		return nil
	}
	r := &metrics.LabLink{
		Impairment: how.String(), Came: was.Came, Sent: was.Sent, Lost: was.Lost, Refused: was.Refused,
		Overflows: was.RingOverflows + was.QueueOverflows, RingOverflows: was.RingOverflows,
		BehindMax: int64(was.Behind),
	}
	if len(was.Verbs) > 0 {
		r.Verbs = map[string]metrics.LabVerb{}
		for name, v := range was.Verbs {
			r.Verbs[name] = metrics.LabVerb{Asked: v.Asked, Done: v.Done}
		}
	}
	if s := was.Sequences; s != nil {
		r.Data = (*metrics.LabData)(s)
	}
	if was.Late != nil {
		r.LateP99 = was.Late.P99
	}
	return r
}

// tooLate tells whether packets were so far behind their time that the delay was another.
func tooLate(how *lab.Impairment, link *metrics.LabLink) bool {
	return link != nil && how.Delay > 0 && time.Duration(link.LateP99) > max(time.Millisecond, how.Delay/10)
}

// Strict is an error if a setting is not as its profile says, unless the profile allows it to fail.
func (v *Venue) Strict() error {
	var errs []error
	for _, h := range v.sides() {
		for i, s := range h.report.Settings {
			if !s.Effective() && !h.profile.Settings[i].Optional {
				errs = append(errs, fmt.Errorf("%s: %s = %s is %s: %s", h.name, s.Key, s.Value, s.Outcome, s.Reason()))
			}
		}
	}
	return errors.Join(errs...)
}
