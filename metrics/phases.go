package metrics

import "fmt"

// Combine makes the result of several runs, one after the other: what the scenario and
// the host are stands in the first, counts are sums, histograms are merged, and series
// follow each other. Names of checks and flags begin with that of their phase.
func Combine(phases []Phase) (*Result, error) {
	if len(phases) == 0 {
		return nil, fmt.Errorf("combine results: there is none")
	}
	sum := phases[0].Result
	sum.Tally, sum.ElapsedS, sum.Rate, sum.RateOffered, sum.RateIntended = Tally{}, 0, 0, 0, nil
	sum.Histograms, sum.Series, sum.Bursts = map[string]Histogram{}, []Row{}, nil
	sum.Population, sum.Beats, sum.Server, sum.CPU, sum.FreezeLateNS = nil, nil, nil, CPU{}, 0
	sum.Exhaustion, sum.TCP, sum.MPTCP, sum.Said = nil, nil, nil, nil
	sum.Kernel, sum.Forecast, sum.Findings = nil, nil, nil // what is seen in a phase stays with it
	sum.Checks, sum.Flags, sum.Expectations = []Check{}, []Flag{}, nil
	sum.Phases = phases
	for i := range phases {
		if err := sum.add(&phases[i]); err != nil {
			return nil, fmt.Errorf("combine results: phase %s: %w", phases[i].Name, err)
		}
	}
	if sum.ElapsedS > 0 {
		sum.Rate /= sum.ElapsedS
		sum.RateOffered /= sum.ElapsedS
		sum.CPU.HostBusy /= sum.ElapsedS
		sum.CPU.HostSteal /= sum.ElapsedS
		sum.CPU.HostSoftIRQ /= sum.ElapsedS
	}
	return &sum, nil
}

// Phase returns the result of a phase; nil where there is none of that name.
func (r *Result) Phase(name string) *Result {
	for i := range r.Phases {
		if r.Phases[i].Name == name {
			return &r.Phases[i].Result
		}
	}
	return nil
}

// add adds a phase; rates and shares are still products with their time.
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
	if p.TCP != nil {
		sample := *p.TCP
		if r.TCP != nil {
			sample.Add(*r.TCP)
		}
		r.TCP = &sample
	}
	if p.MPTCP != nil {
		counts := *p.MPTCP
		if r.MPTCP != nil {
			counts.Add(*r.MPTCP)
		}
		r.MPTCP = &counts
	}
	r.ElapsedS += p.ElapsedS
	r.Rate += p.Rate * p.ElapsedS
	r.RateOffered += p.RateOffered * p.ElapsedS
	r.CPU.HostBusy += p.CPU.HostBusy * p.ElapsedS
	r.CPU.HostSoftIRQ += p.CPU.HostSoftIRQ * p.ElapsedS
	r.CPU.HostSteal += p.CPU.HostSteal * p.ElapsedS
	r.CPU.Client = r.CPU.Client.plus(p.CPU.Client)
	r.CPU.Server = r.CPU.Server.plus(p.CPU.Server)
	r.Said = r.Said.Merge(p.Said).Shortened()
	if p.Beats != nil {
		beats := *p.Beats
		if r.Beats != nil {
			beats.Add(*r.Beats)
		}
		r.Beats = &beats
	}
	if p.Server != nil {
		served := ServerReport{}
		if r.Server != nil {
			served = *r.Server
		}
		served.Merge(*p.Server)
		r.Server = &served
	}
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

// plus is the usage of both; nil is none.
func (u *Usage) plus(other *Usage) *Usage {
	if u == nil || other == nil {
		if u == nil {
			return other
		}
		return u
	}
	sum := Usage{UserS: u.UserS + other.UserS, SystemS: u.SystemS + other.SystemS, MaxRSSBytes: max(u.MaxRSSBytes, other.MaxRSSBytes)}
	if n := u.connections() + other.connections(); n > 0 {
		sum.UserPerConnection = sum.UserS * 1e6 / n
		sum.SystemPerConnection = sum.SystemS * 1e6 / n
		sum.PerConnection = sum.UserPerConnection + sum.SystemPerConnection
	}
	return &sum
}

// connections is the number of attempts that PerConnection is an average of.
func (u *Usage) connections() float64 {
	if u.PerConnection == 0 {
		return 0
	}
	return (u.UserS + u.SystemS) * 1e6 / u.PerConnection
}
