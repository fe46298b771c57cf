package expect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tcpbench/internal/lab"
	"tcpbench/internal/values"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
)

// variable is a name in an expectation, and how to read it from a result. It is not ok
// where the result has no sample of it.
type variable struct {
	name string
	unit string // as metrics.Value.Unit
	read func(*metrics.Result) (value float64, ok bool)
	// words is in place of read where the unit is text.
	words func(*metrics.Result) (text string, ok bool)
}

const (
	nanoseconds = "ns"
	perSecond   = "1/s"
	ofOne       = "share"
	inWords     = experiment.Text
)

func count(read func(*metrics.Result) uint64) func(*metrics.Result) (float64, bool) {
	return func(r *metrics.Result) (float64, bool) { return float64(read(r)), true }
}

// plain are the variables without a dot.
var plain = []variable{
	{name: "attempted", read: count(func(r *metrics.Result) uint64 { return r.Attempted })},
	{name: "succeeded", read: count(func(r *metrics.Result) uint64 { return r.Succeeded })},
	{name: "failed", read: count(func(r *metrics.Result) uint64 { return r.TotalFailed() })},
	{name: "open", read: count(func(r *metrics.Result) uint64 { return r.Open })},
	{name: "checked_bytes", read: count(func(r *metrics.Result) uint64 { return r.CheckedBytes })},
	{name: "freeze_late", unit: nanoseconds, read: count(func(r *metrics.Result) uint64 { return uint64(max(0, r.FreezeLateNS)) })},
	{name: "missed", read: count(func(r *metrics.Result) uint64 { return r.Missed })},
	{name: "rate", unit: perSecond, read: func(r *metrics.Result) (float64, bool) {
		return r.Rate, r.ElapsedS > 0 && (r.Rate > 0 || r.Population == nil) // what is held does not end
	}},
	{name: "rate_offered", unit: perSecond, read: func(r *metrics.Result) (float64, bool) { return r.RateOffered, r.ElapsedS > 0 }},
	{name: "rate_intended", unit: perSecond, read: func(r *metrics.Result) (float64, bool) {
		if r.RateIntended == nil {
			return 0, false
		}
		return *r.RateIntended, true
	}},
	{name: "local_ports", read: func(r *metrics.Result) (float64, bool) { return float64(r.Host.LocalPorts()), r.Host.LocalPorts() > 0 }},
	{name: "elapsed", unit: nanoseconds, read: func(r *metrics.Result) (float64, bool) { return r.ElapsedS * 1e9, true }},
	ofPopulation("held", "", func(p *metrics.Population) (float64, bool) { return float64(p.Held), true }),
	ofPopulation("ramp", nanoseconds, func(p *metrics.Population) (float64, bool) { return p.RampS * 1e9, p.RampS > 0 }),
	ofPopulation("rate_opened", perSecond, func(p *metrics.Population) (float64, bool) { return p.OpenedPerS, p.RampS > 0 }),
	ofPopulation("rate_heartbeats", perSecond, func(p *metrics.Population) (float64, bool) {
		return p.HeartbeatsPerS, p.HeartbeatsPerS > 0
	}),
}

// ofPopulation is a number of a held population.
func ofPopulation(name, unit string, read func(*metrics.Population) (float64, bool)) variable {
	return variable{name: name, unit: unit, read: func(r *metrics.Result) (float64, bool) {
		if r.Population == nil {
			return 0, false
		}
		return read(r.Population)
	}}
}

// dotted are the variables of a group that have names of their own.
var dotted = map[string]map[string]variable{
	"beats": {
		"sent":     beats("sent", func(b *metrics.Beats) uint64 { return b.Sent }),
		"answered": beats("answered", func(b *metrics.Beats) uint64 { return b.Answered }),
		"missed":   beats("missed", func(b *metrics.Beats) uint64 { return b.Missed }),
	},
	"connect": {
		"steps": {name: "connect.steps", read: func(r *metrics.Result) (float64, bool) { seen, _, ok := connectSteps(r); return float64(seen), ok }},
		"lateness": {name: "connect.lateness", unit: nanoseconds, read: func(r *metrics.Result) (float64, bool) {
			h := r.Histograms[metrics.Connect]
			return float64(lateness(r, &h)), h.Count > 0
		}},
		"off_step": {name: "connect.off_step", read: func(r *metrics.Result) (float64, bool) { _, off, ok := connectSteps(r); return float64(off), ok }},
	},
	"cpu": {
		"client":               usage("client", clientCPU, perConnectionCPU),
		"server":               usage("server", serverCPU, perConnectionCPU),
		"client_per_opened":    usage("client_per_opened", clientCPU, perOpenedCPU),
		"server_per_opened":    usage("server_per_opened", serverCPU, perOpenedCPU),
		"client_per_heartbeat": usage("client_per_heartbeat", clientCPU, perHeartbeatCPU),
		"server_per_heartbeat": usage("server_per_heartbeat", serverCPU, perHeartbeatCPU),

		"busy":  {name: "cpu.busy", unit: ofOne, read: func(r *metrics.Result) (float64, bool) { return r.CPU.HostBusy, true }},
		"steal": {name: "cpu.steal", unit: ofOne, read: func(r *metrics.Result) (float64, bool) { return r.CPU.HostSteal, true }},
	},
	"lab": {
		"data_lost":    data("lost", func(d *metrics.LabData) uint64 { return d.Lost }),
		"data_again":   data("again", func(d *metrics.LabData) uint64 { return d.Again }),
		"data_bytes":   data("bytes", func(d *metrics.LabData) uint64 { return d.Bytes }),
		"data_missing": data("missing", func(d *metrics.LabData) uint64 { return d.Missing }),
		"lost": {name: "lab.lost", read: func(r *metrics.Result) (n float64, ok bool) {
			if r.Lab == nil {
				return 0, false
			}
			for _, l := range []*metrics.LabLink{r.Lab.ToServer, r.Lab.ToClient} {
				if l != nil {
					n += float64(l.Lost)
				}
			}
			return n, true
		}},
	},
	"accept_queue": {
		"peak":  accepting("peak", func(q *metrics.Queue) float64 { return float64(q.Peak) }),
		"limit": accepting("limit", func(q *metrics.Queue) float64 { return float64(q.Limit) }),
		"drops": accepting("drops", func(q *metrics.Queue) float64 { return float64(q.Drops) }),
	},
	"server": {
		"accepted":  served("accepted", func(s *metrics.ServerReport) uint64 { return s.Accepted }),
		"open":      served("open", func(s *metrics.ServerReport) uint64 { return s.Open }),
		"exchanges": served("exchanges", func(s *metrics.ServerReport) uint64 { return s.Exchanges }),
	},
}

// data is a sum over the directions of the lab's link that lose packets.
func data(name string, read func(*metrics.LabData) uint64) variable {
	return variable{name: "lab.data_" + name, read: func(r *metrics.Result) (n float64, ok bool) {
		if r.Lab == nil {
			return 0, false
		}
		for _, l := range []*metrics.LabLink{r.Lab.ToServer, r.Lab.ToClient} {
			if l == nil || l.Data == nil {
				continue
			}
			if how, err := lab.ParseImpairment(l.Impairment); err == nil && how.Filters() {
				n, ok = n+float64(read(l.Data)), true
			}
		}
		return n, ok
	}}
}

// accepting is of the listening address with the largest such number.
func accepting(name string, read func(*metrics.Queue) float64) variable {
	return variable{name: "accept_queue." + name, read: func(r *metrics.Result) (most float64, ok bool) {
		for _, v := range views(r) {
			for i := range v.Listeners {
				most, ok = max(most, read(&v.Listeners[i])), true
			}
		}
		return most, ok
	}}
}

func beats(name string, read func(*metrics.Beats) uint64) variable {
	return variable{name: "beats." + name, read: func(r *metrics.Result) (float64, bool) {
		if r.Beats == nil {
			return 0, false
		}
		return float64(read(r.Beats)), true
	}}
}

func clientCPU(r *metrics.Result) *metrics.Usage { return r.CPU.Client }
func serverCPU(r *metrics.Result) *metrics.Usage { return r.CPU.Server }

func perConnectionCPU(u *metrics.Usage) float64 { return u.PerConnection }
func perOpenedCPU(u *metrics.Usage) float64     { return u.PerOpened }
func perHeartbeatCPU(u *metrics.Usage) float64  { return u.PerHeartbeat }

// usage is processor time of a side for each of something, in microseconds.
func usage(name string, of func(*metrics.Result) *metrics.Usage, each func(*metrics.Usage) float64) variable {
	return variable{name: "cpu." + name, unit: nanoseconds, read: func(r *metrics.Result) (float64, bool) {
		u := of(r)
		if u == nil || each(u) == 0 {
			return 0, false
		}
		return each(u) * 1e3, true
	}}
}

func served(name string, read func(*metrics.ServerReport) uint64) variable {
	return variable{name: "server." + name, read: func(r *metrics.Result) (float64, bool) {
		if r.Server == nil {
			return 0, false
		}
		return float64(read(r.Server)), true
	}}
}

// failureNames are what may stand behind "failed.": an outcome in any stage, or in one.
func failureNames() []string {
	var names []string
	for o := metrics.Succeeded + 1; o < metrics.Outcomes; o++ {
		names = append(names, "failed."+o.String())
		for s := range metrics.Stages {
			names = append(names, "failed."+metrics.FailureName(s, o))
		}
	}
	return names
}

// failures counts those of an outcome, in one stage where the name says which.
func failures(name string) variable {
	what := strings.TrimPrefix(name, "failed.")
	return variable{name: name, read: count(func(r *metrics.Result) (n uint64) {
		for key, k := range r.Failed {
			if key == what || !strings.Contains(what, ".") && strings.HasSuffix(key, "."+what) {
				n += k
			}
		}
		return n
	})}
}

// quantities are what may stand behind the name of a histogram, besides other quantiles.
var quantities = []string{"count", "min", "mean", "p50", "p90", "p99", "p999", "p9999", "max"}

func histogramVariable(histogram, quantity string) (variable, bool) {
	v := variable{name: histogram + "." + quantity, unit: nanoseconds}
	if metrics.UnitOf(histogram) != metrics.Nanoseconds {
		v.unit = "" // numbers of something
	}
	of := func(read func(metrics.Histogram) float64) variable {
		v.read = func(r *metrics.Result) (float64, bool) {
			h := r.Histograms[histogram]
			if h.Count == 0 {
				return 0, false
			}
			return read(h), true
		}
		return v
	}
	switch quantity {
	case "count": // none is a count, too
		v.unit, v.read = "", count(func(r *metrics.Result) uint64 { return uint64(r.Histograms[histogram].Count) })
		return v, true
	case "min":
		return of(func(h metrics.Histogram) float64 { return float64(h.Min) }), true
	case "mean":
		return of(func(h metrics.Histogram) float64 { return h.Mean }), true
	case "max":
		return of(func(h metrics.Histogram) float64 { return float64(h.Max) }), true
	}
	digits, ok := strings.CutPrefix(quantity, "p")
	q, err := strconv.ParseFloat("0."+digits, 64)
	if !ok || err != nil || len(digits) < 2 || len(digits) > 6 || strings.Trim(digits, "0123456789") != "" {
		return v, false
	}
	return of(func(h metrics.Histogram) float64 {
		r, err := h.Recorder()
		if err != nil {
			return 0 // one of this run's own: it is checked where results are read
		}
		return float64(r.Quantile(q))
	}), true
}

// findVariableIn returns the variable of a name that may begin with that of a phase.
func findVariableIn(name string, phases []string) (variable, error) {
	phase, rest, ok := strings.Cut(name, ".")
	if !ok || !slices.Contains(phases, phase) {
		return findVariable(name)
	}
	v, err := findVariable(rest)
	if err != nil {
		return v, err
	}
	of := v
	v.name = name
	v.read = func(r *metrics.Result) (float64, bool) {
		if p := r.Phase(phase); p != nil && of.read != nil {
			return of.read(p)
		}
		return 0, false
	}
	return v, nil
}

// findVariable returns the variable of a name, or says which may have been meant.
func findVariable(name string) (variable, error) {
	for _, v := range plain {
		if v.name == name {
			return v, nil
		}
	}
	group, rest, _ := strings.Cut(name, ".")
	if v, ok := dotted[group][rest]; ok {
		return v, nil
	}
	if rest != "" && slices.Contains(counterGroups, group) {
		return counterVariable(group, rest)
	}
	if group == factGroup {
		return factVariable(rest)
	}
	if v, ok := socketVariable(group, rest); ok && (group == "client" || group == "server") {
		return v, nil
	}
	for _, known := range failureNames() {
		if known == name {
			return failures(name), nil
		}
	}
	for _, h := range metrics.HistogramOrder() {
		if h != group {
			continue
		}
		if v, ok := histogramVariable(h, rest); ok {
			return v, nil
		}
		return variable{}, fmt.Errorf("%q: behind a histogram stands one of %s, or another quantile, as in p95", name, strings.Join(quantities, ", "))
	}
	if near := values.Nearest(name, Names()); near != "" {
		return variable{}, fmt.Errorf("unknown name %q: did you mean %s?", name, near)
	}
	return variable{}, fmt.Errorf("unknown name %q: docs/scenario-files.md lists what a result has", name)
}

// Names lists the names that expectations know; each histogram has other
// quantiles, too.
func Names() []string {
	var names []string
	for _, v := range plain {
		names = append(names, v.name)
	}
	for group := range dotted {
		for name := range dotted[group] {
			names = append(names, group+"."+name)
		}
	}
	names = append(names, failureNames()...)
	for _, f := range experiment.FactNames() {
		names = append(names, factGroup+"."+f)
	}
	for _, h := range metrics.HistogramOrder() {
		for _, q := range quantities {
			names = append(names, h+"."+q)
		}
	}
	return names
}
