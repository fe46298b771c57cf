package scenarios

import (
	"errors"
	"fmt"

	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// Venue is a lab whose hosts have the settings of a profile.
type Venue struct {
	*lab.Lab
	// Report says what became of each setting.
	Report metrics.Lab
}

// NewVenue makes a lab, and gives its hosts their settings.
func NewVenue(client, server *lab.Profile) (*Venue, error) {
	l, err := lab.New()
	if err != nil {
		return nil, err
	}
	v := &Venue{Lab: l}
	for _, h := range []struct {
		host    *lab.Host
		profile *lab.Profile
		report  *metrics.LabHost
	}{{l.Client, client, &v.Report.Client}, {l.Server, server, &v.Report.Server}} {
		reports, err := h.host.Apply(h.profile)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("profile %s: %w", h.profile.Name, err), l.Close())
		}
		h.report.Profile = h.profile.Name
		h.report.Settings = []metrics.LabSetting{}
		for _, r := range reports {
			h.report.Settings = append(h.report.Settings, metrics.LabSetting{
				Key: r.Key, Value: r.Value, Outcome: string(r.Outcome), Now: r.Now, Why: r.Why,
			})
		}
	}
	return v, nil
}

// Strict is an error if a setting is not as its profile says, unless the profile says that
// it may fail.
func (v *Venue) Strict(client, server *lab.Profile) error {
	var errs []error
	for _, h := range []struct {
		side    string
		profile *lab.Profile
		report  *metrics.LabHost
	}{{"client", client, &v.Report.Client}, {"server", server, &v.Report.Server}} {
		for i, s := range h.report.Settings {
			if s.Outcome == metrics.Applied || h.profile.Settings[i].Optional {
				continue
			}
			err := fmt.Errorf("%s: %s = %s is %s", h.side, s.Key, s.Value, s.Outcome)
			if s.Why != "" {
				err = fmt.Errorf("%w: %s", err, s.Why)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
