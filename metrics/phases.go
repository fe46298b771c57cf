package metrics

import (
	"errors"
	"fmt"
)

// Combine makes one result of several phases: the first names the scenario and the host, counts are
// sums, histograms are merged, and series follow each other. The names of checks and flags begin
// with that of their phase. What the kernel showed, forecasts and findings stay with their phases.
func Combine(phases []Phase) (*Result, error) {
	if len(phases) == 0 {
		return nil, errors.New("combine results: there is none")
	}
	first := phases[0].Result
	all := Result{
		Schema: first.Schema, Tool: first.Tool, Host: first.Host, Scenario: first.Scenario, Lab: first.Lab, Loopback: first.Loopback,
		Command: first.Command, Started: first.Started, Experiment: first.Experiment, Verdict: first.Verdict,
		Histograms: map[string]Histogram{}, Series: []Row{}, Checks: []Check{}, Flags: []Flag{}, Phases: phases,
	}
	for i := range phases {
		if err := all.add(&phases[i]); err != nil {
			return nil, fmt.Errorf("combine results: phase %s: %w", phases[i].Name, err)
		}
	}
	if all.ElapsedS > 0 {
		for _, product := range []*float64{&all.Rate, &all.RateOffered, &all.CPU.HostBusy, &all.CPU.HostSteal, &all.CPU.HostSoftIRQ} {
			*product /= all.ElapsedS
		}
	}
	return &all, nil
}

// Phase returns the result of the phase of that name, or nil.
func (r *Result) Phase(name string) *Result {
	for i := range r.Phases {
		if r.Phases[i].Name == name {
			return &r.Phases[i].Result
		}
	}
	return nil
}

// add adds a phase. Rates and shares are products with their time until Combine divides them.
func (r *Result) add(p *Phase) error {
	histograms, err := MergeHistograms(r.Histograms, p.Histograms)
	if err != nil {
		return err
	}
	r.Histograms = histograms
	r.Tally.Add(p.Tally)
	for _, row := range p.Series {
		row.T += r.ElapsedS
		r.Series = append(r.Series, row)
	}
	for _, b := range p.Bursts {
		b.DueS += r.ElapsedS
		r.Bursts = append(r.Bursts, b)
	}
	if e := p.Exhaustion; e != nil && r.Exhaustion == nil {
		later := *e
		later.AtNS += int64(r.ElapsedS * 1e9)
		r.Exhaustion = &later
	}
	r.TCP = sum(r.TCP, p.TCP, (*TCPSample).Add)
	r.MPTCP = sum(r.MPTCP, p.MPTCP, (*MPTCP).Add)
	r.Beats = sum(r.Beats, p.Beats, (*Beats).Add)
	r.Server = sum(r.Server, p.Server, (*ServerReport).Merge)
	r.Said = r.Said.Merge(p.Said).Shortened()
	r.ElapsedS += p.ElapsedS
	r.Rate += p.Rate * p.ElapsedS
	r.RateOffered += p.RateOffered * p.ElapsedS
	r.CPU.HostBusy += p.CPU.HostBusy * p.ElapsedS
	r.CPU.HostSoftIRQ += p.CPU.HostSoftIRQ * p.ElapsedS
	r.CPU.HostSteal += p.CPU.HostSteal * p.ElapsedS
	r.CPU.Client = sum(r.CPU.Client, p.CPU.Client, (*Usage).add)
	r.CPU.Server = sum(r.CPU.Server, p.CPU.Server, (*Usage).add)
	for _, c := range p.Checks {
		c.Name = p.Name + ": " + c.Name
		r.Checks = append(r.Checks, c)
	}
	for _, f := range p.Flags {
		f.Why = p.Name + ": " + f.Why
		r.Flags = append(r.Flags, f)
	}
	return nil
}

// add adds the usage of a later phase.
func (u *Usage) add(other Usage) {
	n := u.connections() + other.connections()
	*u = Usage{UserS: u.UserS + other.UserS, SystemS: u.SystemS + other.SystemS, MaxRSSBytes: max(u.MaxRSSBytes, other.MaxRSSBytes)}
	if n > 0 {
		u.UserPerConnection = u.UserS * 1e6 / n
		u.SystemPerConnection = u.SystemS * 1e6 / n
		u.PerConnection = u.UserPerConnection + u.SystemPerConnection
	}
}

// connections is the number of attempts that PerConnection is an average of.
func (u *Usage) connections() float64 {
	if u.PerConnection == 0 {
		return 0
	}
	return (u.UserS + u.SystemS) * 1e6 / u.PerConnection
}
