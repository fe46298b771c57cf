package metrics

import (
	"errors"
	"fmt"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of every histogram: 1 ns to 24 h at three significant digits, so a
// quantile is within 0.1 % of the true one.
const (
	HighestLatency    = int64(24 * 3600e9)
	significantDigits = 3
)

// Recorder collects values in an HDR histogram. Only its constructor allocates; one goroutine uses
// it at a time. Values outside of 1 ns … 24 h count at the nearest end, and as clamped. The extremes
// are exact, because those of the HDR histogram are rounded to a bucket.
type Recorder struct {
	hdr      *hdrhistogram.Histogram
	unit     string
	lowest   int64 // smaller values count as this
	step     int64 // Histogram.Resolution
	clamped  int64
	min, max int64
}

// NewRecorder returns an empty recorder. It takes about 300 KB.
func NewRecorder() *Recorder {
	r := &Recorder{hdr: hdrhistogram.New(1, HighestLatency, significantDigits), unit: Nanoseconds, lowest: 1}
	r.min, r.max = noExtremes()
	return r
}

// NewCountRecorder returns an empty recorder of counts in a unit. Zero is one of them.
func NewCountRecorder(unit string) *Recorder {
	r := NewRecorder()
	r.unit, r.lowest = unit, 0
	return r
}

// NewCoarseRecorder returns an empty recorder of durations that are known in steps of resolution
// nanoseconds. Zero is less than a step.
func NewCoarseRecorder(resolution int64) *Recorder {
	r := NewRecorder()
	r.step, r.lowest = resolution, 0
	return r
}

// Empty returns an empty recorder of the same kind.
func (r *Recorder) Empty() *Recorder {
	empty := NewRecorder()
	empty.unit, empty.lowest, empty.step = r.unit, r.lowest, r.step
	return empty
}

// noExtremes are the extremes of no value: the first one replaces both.
func noExtremes() (lowest, highest int64) { return math.MaxInt64, math.MinInt64 }

// Record adds one value.
func (r *Recorder) Record(ns int64) {
	r.min, r.max = min(r.min, ns), max(r.max, ns)
	// RecordValue takes 3.5 ns, and 160 ns to refuse a value.
	if ns < r.lowest || ns > HighestLatency {
		ns = min(max(ns, r.lowest), HighestLatency)
		r.clamped++
	}
	_ = r.hdr.RecordValue(ns) // in range
}

// RecordMany adds the same value n times.
func (r *Recorder) RecordMany(ns, n int64) {
	if n <= 0 {
		return
	}
	r.min, r.max = min(r.min, ns), max(r.max, ns)
	if ns < r.lowest || ns > HighestLatency {
		ns = min(max(ns, r.lowest), HighestLatency)
		r.clamped += n
	}
	_ = r.hdr.RecordValues(ns, n) // in range
}

// Count is the number of recorded values.
func (r *Recorder) Count() int64 { return r.hdr.TotalCount() }

// Quantile returns the value below which the share q (0 to 1) of the values lies, or zero if there
// is none.
func (r *Recorder) Quantile(q float64) int64 {
	if r.Count() == 0 {
		return 0
	}
	return min(max(r.hdr.ValueAtQuantile(q*100), r.min), r.max)
}

// CountBetween is the number of values from low to below high, within a bucket, 0.1 %.
func (r *Recorder) CountBetween(low, high int64) (n int64) {
	for _, bar := range r.hdr.Distribution() {
		if bar.From >= low && bar.From < high {
			n += bar.Count
		}
	}
	return n
}

// Max is the exact largest value, or zero if there is none.
func (r *Recorder) Max() int64 {
	if r.Count() == 0 {
		return 0
	}
	return r.max
}

// Merge adds all values of other.
func (r *Recorder) Merge(other *Recorder) {
	if other.Count() == 0 {
		return
	}
	r.hdr.Merge(other.hdr)
	r.step = max(r.step, other.step)
	r.clamped += other.clamped
	r.min = min(r.min, other.min)
	r.max = max(r.max, other.max)
}

// Without returns the values that are not in part. All values of part must be in r.
func (r *Recorder) Without(part *Recorder) *Recorder {
	rest := r.Empty()
	minus := map[int64]int64{}
	for _, bar := range part.hdr.Distribution() {
		minus[bar.From] = bar.Count
	}
	for _, bar := range r.hdr.Distribution() {
		n := bar.Count - minus[bar.From]
		if n <= 0 {
			continue
		}
		_ = rest.hdr.RecordValues(bar.From, n) // in range, as in r
		rest.min, rest.max = min(rest.min, bar.From), max(rest.max, bar.To)
	}
	return rest
}

// Reset empties the recorder and keeps its memory.
func (r *Recorder) Reset() {
	r.hdr.Reset()
	r.clamped = 0
	r.min, r.max = noExtremes()
}

// Histogram is a recorder in a result. HDR holds all of it (HdrHistogram V2, compressed, base64); the
// quantiles are for readers without a library.
type Histogram struct {
	Unit string `json:"unit"` // ns, sockets or ports
	// Resolution is the step in which values are known, absent if it is one of the unit: zero means
	// less than a step, any other value is right within a step.
	Resolution int64   `json:"resolution,omitempty"`
	Count      int64   `json:"count"`
	Clamped    int64   `json:"clamped"` // values outside of 1 ns … 24 h, counted at the nearest end
	Min        int64   `json:"min"`
	Mean       float64 `json:"mean"`
	P50        int64   `json:"p50"`
	P90        int64   `json:"p90"`
	P99        int64   `json:"p99"`
	P999       int64   `json:"p999"`
	Max        int64   `json:"max"`
	HDR        string  `json:"hdr"`
}

// Export returns the recorder's histogram. It allocates thousands of times: never call it on a loop's
// thread.
func (r *Recorder) Export() (Histogram, error) {
	encoded, err := r.hdr.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return Histogram{}, fmt.Errorf("encode histogram: %w", err)
	}
	h := Histogram{Unit: r.unit, Resolution: r.step, Count: r.Count(), Clamped: r.clamped, HDR: string(encoded)}
	if h.Count > 0 {
		h.Min, h.Max, h.Mean = r.min, r.max, r.hdr.Mean()
		h.P50, h.P90, h.P99, h.P999 = r.Quantile(.5), r.Quantile(.9), r.Quantile(.99), r.Quantile(.999)
	}
	return h, nil
}

// Recorder reads the histogram back. The error says what is wrong with it: it may be a file's.
func (h Histogram) Recorder() (*Recorder, error) {
	var r *Recorder
	switch {
	case h.Resolution < 0 || h.Resolution > 0 && h.Unit != Nanoseconds:
		return nil, fmt.Errorf("histogram with a resolution of %d %s, want nanoseconds", h.Resolution, h.Unit)
	case h.Resolution > 0:
		r = NewCoarseRecorder(h.Resolution)
	case h.Unit == Nanoseconds:
		r = NewRecorder()
	case h.Unit == SocketsUnit, h.Unit == PortsUnit:
		r = NewCountRecorder(h.Unit)
	default:
		return nil, fmt.Errorf("histogram in %q, want %s, %s or %s", h.Unit, Nanoseconds, SocketsUnit, PortsUnit)
	}
	decoded, err := decodeHDR(h.HDR)
	if err != nil {
		return nil, err
	}
	if dropped := r.hdr.Merge(decoded); dropped != 0 {
		return nil, fmt.Errorf("histogram holds %d values above %d ns", dropped, HighestLatency)
	}
	if r.Count() != h.Count {
		return nil, fmt.Errorf("histogram says count %d, its hdr field holds %d", h.Count, r.Count())
	}
	if h.Count > 0 {
		r.clamped, r.min, r.max = h.Clamped, h.Min, h.Max
	}
	return r, nil
}

// decodeHDR turns the library's panics on damaged input into errors.
func decodeHDR(text string) (h *hdrhistogram.Histogram, err error) {
	defer func() {
		if p := recover(); p != nil {
			h, err = nil, fmt.Errorf("decode histogram: damaged: %v", p)
		}
	}()
	if text == "" {
		return nil, errors.New("decode histogram: the hdr field is empty")
	}
	h, err = hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("decode histogram: %w", err)
	}
	return h, nil
}

// MergeHistograms merges histograms by name, without loss.
func MergeHistograms(parts ...map[string]Histogram) (map[string]Histogram, error) {
	merged := map[string]*Recorder{}
	for _, part := range parts {
		for name, h := range part {
			r, err := h.Recorder()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			switch {
			case merged[name] == nil:
				merged[name] = r
			case merged[name].unit != r.unit:
				return nil, fmt.Errorf("%s: one in %s and one in %s cannot be merged", name, merged[name].unit, r.unit)
			default:
				merged[name].Merge(r)
			}
		}
	}
	out := make(map[string]Histogram, len(merged))
	for name, r := range merged {
		h, err := r.Export()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = h
	}
	return out, nil
}
