package metrics

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Quantity is a number that a result has. Expectations, comparisons, tcpbench list quantities and
// docs/scenario-files.md have the same ones.
type Quantity struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit,omitempty"` // ns, 1/s, share, text, or empty for a count
	Better  Direction `json:"better,omitempty"`
	Meaning string    `json:"meaning,omitempty"` // Markdown
	// Evidence tells that it explains other numbers, and is no goal of its own.
	Evidence bool `json:"evidence,omitempty"`
	// Of reads it. It is not ok if the result has no sample of it.
	Of func(*Result) (value float64, ok bool) `json:"-"`
	// Words replaces Of if the unit is text.
	Words func(*Result) (text string, ok bool) `json:"-"`
	// Histogram is the source of a quantile, and Samples how many it needs for a comparison: ten beyond
	// the quantile. With fewer chance decides.
	Histogram string `json:"-"`
	Samples   int64  `json:"-"`
}

// Direction says which change of a quantity is good.
type Direction string

// The directions. A quantity without one is neither good nor bad.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
)

// The units of quantities, besides Nanoseconds and that of a count, which is empty.
const (
	PerSecond = "1/s"
	Share     = "share" // 0 to 1
	Text      = "text"
)

// Value measures the quantity. It is not ok if the result has no sample.
func (q *Quantity) Value(r *Result) (v Value, ok bool) {
	v = Value{Name: q.Name, Unit: q.Unit}
	if q.Unit == Text {
		v.Text, ok = q.Words(r)
	} else {
		v.Value, ok = q.Of(r)
	}
	return v, ok
}

// In is the quantity of one phase: peak.rate.
func (q Quantity) In(phase string) Quantity {
	of, words := q.Of, q.Words
	q.Name = phase + "." + q.Name
	q.Of = func(r *Result) (float64, bool) {
		if p := r.Phase(phase); p != nil && of != nil {
			return of(p)
		}
		return 0, false
	}
	q.Words = func(r *Result) (string, bool) {
		if p := r.Phase(phase); p != nil && words != nil {
			return words(p)
		}
		return "", false
	}
	return q
}

// Quantities lists those with fixed names. FindQuantity knows others: any quantile of a histogram, and
// each counter of the kernel.
func Quantities() []Quantity { return slices.Clone(allQuantities().list) }

// FindQuantity returns the quantity of that name.
func FindQuantity(name string) (Quantity, bool) {
	all := allQuantities()
	if i, ok := all.at[name]; ok {
		return all.list[i], true
	}
	group, rest, _ := strings.Cut(name, ".")
	if rest != "" && slices.Contains(CounterGroups, group) {
		return counterQuantity(group, rest), true
	}
	digits, isQuantile := strings.CutPrefix(rest, "p")
	q, err := strconv.ParseFloat("0."+digits, 64)
	if !isQuantile || err != nil || len(digits) < 2 || len(digits) > 6 || strings.Trim(digits, "0123456789") != "" || !slices.Contains(HistogramNames(), group) {
		return Quantity{}, false
	}
	return quantile(group, rest, q), true
}

// QuantityGroups lists the quantities for a manual: a family of similar ones is one entry, whose name is
// a pattern.
func QuantityGroups() []Quantity { return slices.Concat(ofRun, ofNamespaces, families) }

var families = []Quantity{
	{Name: "failed.NAME, failed.STAGE.NAME", Better: Lower, Meaning: "failures of a name in any stage, or in one: `failed.timeout`, `failed.connect.timeout`"},
	{Name: "HISTOGRAM.min, .mean, .p50, .p90, .p99, .p999, .p9999, .max", Unit: Nanoseconds, Better: Lower,
		Meaning: "of each of the [histograms](histograms.md); any quantile from two digits on, as in `connect.p95`. " +
			"Those of sockets and ports (`time_wait`, `fin_wait2`, `namespace_tw`, `ports_in_use`) have no unit"},
	{Name: "HISTOGRAM.count", Meaning: "the number of its samples"},
	{Name: "client.STATE.max, server.STATE.max", Evidence: true, Meaning: "the largest number of the run's own sockets of a side in a state, as the census saw them"},
	{Name: "client.STATE.last, server.STATE.last", Evidence: true, Meaning: "the number at the end: `server.CLOSE_WAIT.last == 0`"},
	{Name: "Tcp.NAME, TcpExt.NAME, Ip.NAME, IpExt.NAME", Evidence: true,
		Meaning: "by how much a counter of the kernel moved, warm-up included, over all namespaces of the run: `TcpExt.ListenOverflows == 0`"},
}

// allQuantities are made at first use: a run without expectations needs none.
var allQuantities = sync.OnceValue(func() (all struct {
	list []Quantity
	at   map[string]int
}) {
	all.list = slices.Concat(ofRun, ofNamespaces, ofFailures(), ofHistograms(), ofSockets())
	all.at = make(map[string]int, len(all.list))
	for i, q := range all.list {
		all.at[q.Name] = i
	}
	return all
})

// ofFailures counts the failures of each outcome, in any stage and in each.
func ofFailures() (all []Quantity) {
	for o := Succeeded + 1; o < Outcomes; o++ {
		for s := range Stages + 1 {
			key := o.String()
			if s < Stages {
				key = FailureName(s, o)
			}
			all = append(all, FailureQuantity(key))
		}
	}
	return all
}

// FailureQuantity counts the failures of a name: an outcome, in any stage or in one.
func FailureQuantity(key string) Quantity {
	return measure("failed."+key, "", Lower, count(func(r *Result) (n uint64) {
		for name, k := range r.Failed {
			if name == key || strings.HasSuffix(name, "."+key) {
				n += k
			}
		}
		return n
	}), "")
}

// Summaries are the quantities of each histogram; FindQuantity knows other quantiles too.
var Summaries = []string{"count", "min", "mean", "p50", "p90", "p99", "p999", "p9999", "max"}

func ofHistograms() (all []Quantity) {
	for _, h := range HistogramNames() {
		for _, s := range Summaries {
			switch s {
			case "count": // zero is a count too
				all = append(all, Quantity{Name: h + ".count", Of: count(func(r *Result) uint64 { return uint64(r.Histograms[h].Count) })})
			case "min":
				all = append(all, summary(h, s, 1, func(h Histogram) float64 { return float64(h.Min) }))
			case "mean":
				all = append(all, summary(h, s, 1, func(h Histogram) float64 { return h.Mean }))
			case "max":
				all = append(all, summary(h, s, 1, func(h Histogram) float64 { return float64(h.Max) }))
			default:
				q, _ := strconv.ParseFloat("0."+s[1:], 64) // our own
				all = append(all, quantile(h, s, q))
			}
		}
	}
	return all
}

// summary is one number of a histogram.
func summary(histogram, name string, samples int64, of func(Histogram) float64) Quantity {
	q := Quantity{Name: histogram + "." + name, Unit: Nanoseconds, Better: Lower, Histogram: histogram, Samples: samples}
	if UnitOf(histogram) != Nanoseconds {
		q.Unit, q.Better, q.Evidence = "", "", true
	}
	q.Of = func(r *Result) (float64, bool) {
		h := r.Histograms[histogram]
		if h.Count == 0 {
			return 0, false
		}
		return of(h), true
	}
	return q
}

// quantile is that of a histogram below which the share q of its values lies.
func quantile(histogram, name string, q float64) Quantity {
	samples := int64(1)
	if q > 0.5 {
		samples = int64(10/(1-q) + 0.5)
	}
	return summary(histogram, name, samples, func(h Histogram) float64 {
		switch q {
		case 0.5:
			return float64(h.P50)
		case 0.9:
			return float64(h.P90)
		case 0.99:
			return float64(h.P99)
		case 0.999:
			return float64(h.P999)
		}
		r, err := h.Recorder()
		if err != nil {
			return 0 // Read refuses such a histogram
		}
		return float64(r.Quantile(q))
	})
}
