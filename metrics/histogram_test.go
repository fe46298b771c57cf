package metrics

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"pgregory.net/rapid"
)

// latencies are durations of all orders of magnitude.
func latencies(least int) *rapid.Generator[[]int64] {
	one := rapid.Custom(func(t *rapid.T) int64 {
		top := int64(1) << rapid.IntRange(1, 36).Draw(t, "bits")
		return rapid.Int64Range(1, min(top, HighestLatency)).Draw(t, "ns")
	})
	return rapid.SliceOfN(one, least, 300)
}

func recorderOf(values []int64) *Recorder {
	r := NewRecorder()
	for _, v := range values {
		r.Record(v)
	}
	return r
}

func export(t rapid.TB, r *Recorder) Histogram {
	t.Helper()
	h, err := r.Export()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// within tells whether got is at most 0.1 % off.
func within(got, want float64) bool { return math.Abs(got-want) <= want/1000 }

func TestRecorderQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := latencies(1).Draw(t, "values")
		r := recorderOf(values)
		slices.Sort(values)
		n := len(values)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		for _, q := range []float64{q, 0.5, 0.9, 0.99, 0.999, 1} {
			// Nearest rank, in the library's rounding.
			rank := max(1, min(n, int(q*100/100*float64(n)+0.5)))
			if got, want := r.Quantile(q), values[rank-1]; got < want-want/1000 || !within(float64(got), float64(want)) {
				t.Fatalf("quantile %g is %d, want %d", q, got, want)
			}
		}
		h := export(t, r)
		if h.Min != values[0] || h.Max != values[n-1] || h.Count != int64(n) || h.Clamped != 0 || h.Unit != "ns" {
			t.Fatalf("export %+v of %d values from %d to %d", h, n, values[0], values[n-1])
		}
		var sum float64
		for _, v := range values {
			sum += float64(v)
		}
		if mean := sum / float64(n); !within(h.Mean, mean) {
			t.Fatalf("mean %g, want %g", h.Mean, mean)
		}
	})
}

func TestRecorderClampsAndSaysSo(t *testing.T) {
	for _, tt := range []struct {
		name    string
		values  []int64
		clamped int64
		lo, hi  int64
	}{
		{"in range", []int64{1, 50, HighestLatency}, 0, 1, HighestLatency},
		{"zero", []int64{0}, 1, 0, 0},
		{"negative", []int64{-5, -3}, 2, -5, -3},
		{"too long", []int64{HighestLatency + 1}, 1, HighestLatency + 1, HighestLatency + 1},
		{"both ends", []int64{math.MinInt64, 7, math.MaxInt64}, 2, math.MinInt64, math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := export(t, recorderOf(tt.values))
			if h.Count != int64(len(tt.values)) || h.Clamped != tt.clamped || h.Min != tt.lo || h.Max != tt.hi {
				t.Errorf("count %d, clamped %d, %d … %d; want %d, %d, %d … %d",
					h.Count, h.Clamped, h.Min, h.Max, len(tt.values), tt.clamped, tt.lo, tt.hi)
			}
		})
	}
}

func TestQuantilesAreInOrderWhateverIsRecorded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64(), 1, 50).Draw(t, "values")
		h := export(t, recorderOf(values))
		if order := []int64{h.Min, h.P50, h.P90, h.P99, h.P999, h.Max}; !slices.IsSorted(order) {
			t.Fatalf("min, p50, p90, p99, p99.9, max = %v", order)
		}
		if h.Min != slices.Min(values) || h.Max != slices.Max(values) {
			t.Fatalf("extremes %d … %d of %v", h.Min, h.Max, values)
		}
	})
}

func TestEmptyRecorder(t *testing.T) {
	used := recorderOf([]int64{0, 5, 9})
	used.Reset()
	for name, r := range map[string]*Recorder{"new": NewRecorder(), "reset": used} {
		if r.Count() != 0 || r.Max() != 0 || r.Quantile(0.5) != 0 {
			t.Errorf("%s: count %d, max %d, median %d", name, r.Count(), r.Max(), r.Quantile(0.5))
		}
		h := export(t, r)
		if want := (Histogram{Unit: "ns", HDR: h.HDR}); h != want {
			t.Errorf("%s: export %+v", name, h)
		}
		r.Record(3)
		if h := export(t, r); h.Min != 3 || h.Max != 3 || h.Count != 1 {
			t.Errorf("%s: after one value %+v", name, h)
		}
	}
}

func TestMergeIsAssociativeAndIndependentOfOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64(), 0, 30)
		a, b, c := values.Draw(t, "a"), latencies(0).Draw(t, "b"), values.Draw(t, "c")
		merge := func(parts ...*Recorder) *Recorder {
			sum := parts[0]
			for _, p := range parts[1:] {
				sum.Merge(p)
			}
			return sum
		}
		// Exports are slow under the race detector, so each case tests one of four ways.
		var sum *Recorder
		way := rapid.SampledFrom([]string{"(a+b)+c", "a+(b+c)", "c+a+b", "0+b+a+c"}).Draw(t, "way")
		switch way {
		case "(a+b)+c":
			sum = merge(recorderOf(a), recorderOf(b), recorderOf(c))
		case "a+(b+c)":
			sum = merge(recorderOf(a), merge(recorderOf(b), recorderOf(c)))
		case "c+a+b":
			sum = merge(recorderOf(c), recorderOf(a), recorderOf(b))
		case "0+b+a+c":
			sum = merge(NewRecorder(), recorderOf(b), recorderOf(a), recorderOf(c))
		}
		if got, want := export(t, sum), export(t, recorderOf(slices.Concat(a, b, c))); got != want {
			t.Fatalf("%s is %+v, want %+v", way, got, want)
		}
	})
}

func TestHistogramSurvivesExportAndImport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.OneOf(latencies(0), rapid.SliceOfN(rapid.Int64(), 0, 20)).Draw(t, "values")
		want := export(t, recorderOf(values))
		r, err := want.Recorder()
		if err != nil {
			t.Fatal(err)
		}
		if got := export(t, r); got != want {
			t.Fatalf("read back %+v, want %+v", got, want)
		}
	})
}

func TestHistogramRejects(t *testing.T) {
	sound := export(t, recorderOf([]int64{1, 1_000, 1_000_000}))
	with := func(change func(*Histogram)) Histogram {
		h := sound
		change(&h)
		return h
	}
	for name, h := range map[string]Histogram{
		"zero value":      {},
		"other unit":      with(func(h *Histogram) { h.Unit = "us" }),
		"no hdr":          with(func(h *Histogram) { h.HDR = "" }),
		"not base64":      with(func(h *Histogram) { h.HDR = "?" }),
		"cut":             with(func(h *Histogram) { h.HDR = h.HDR[:len(h.HDR)/2] }),
		"other cookie":    with(func(h *Histogram) { h.HDR = "AAAA" + h.HDR[4:] }),
		"wrong count":     with(func(h *Histogram) { h.Count++ }),
		"count, no value": with(func(h *Histogram) { h.HDR = export(t, NewRecorder()).HDR }),
	} {
		if _, err := h.Recorder(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := MergeHistograms(map[string]Histogram{Connect: sound}, map[string]Histogram{Connect: h}); err == nil {
			t.Errorf("%s: no error from MergeHistograms", name)
		}
	}
}

func TestMergeHistogramsKeepsEachName(t *testing.T) {
	connect, lifetime := recorderOf([]int64{1, 2, 3}), recorderOf([]int64{40})
	got, err := MergeHistograms(
		map[string]Histogram{Connect: export(t, connect)},
		nil,
		map[string]Histogram{Connect: export(t, connect), Lifetime: export(t, lifetime)},
	)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[Connect] != export(t, recorderOf([]int64{1, 2, 3, 1, 2, 3})) || got[Lifetime] != export(t, lifetime) {
		t.Errorf("merged %+v", got)
	}
}

// A resolution survives merging and reading back, and zero is a value.
func TestResolution(t *testing.T) {
	const step = 4_000_000
	r := NewCoarseRecorder(step)
	r.Record(0)
	r.Record(3 * step)
	h := export(t, r)
	sum, err := MergeHistograms(map[string]Histogram{AcceptDelay: h}, map[string]Histogram{AcceptDelay: h})
	if err != nil {
		t.Fatal(err)
	}
	got := sum[AcceptDelay]
	if got.Resolution != step || got.Count != 4 || got.Clamped != 0 || got.Min != 0 || got.P50 != 0 || got.Max != 3*step {
		t.Errorf("%+v", got)
	}
	h.Resolution = -1
	if _, err := h.Recorder(); err == nil {
		t.Error("a negative resolution was read")
	}
	if fine := export(t, recorderOf([]int64{1})); fine.Resolution != 0 {
		t.Errorf("%+v", fine)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	r := NewRecorder()
	for _, v := range []int64{8_450, -1, math.MaxInt64} {
		if n := testing.AllocsPerRun(1000, func() { r.Record(v) }); n != 0 {
			t.Errorf("Record(%d): %g allocations", v, n)
		}
	}
	if n := testing.AllocsPerRun(10, r.Reset); n != 0 {
		t.Errorf("Reset: %g allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	values := make([]int64, 1024)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range values {
		values[i] = int64(400_000 * math.Exp(random.NormFloat64()))
	}
	for _, tt := range []struct {
		name string
		of   func(i int) int64
	}{
		{"in-range", func(i int) int64 { return values[i%len(values)] }},
		{"clamped", func(int) int64 { return HighestLatency + 1 }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			r := NewRecorder()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r.Record(tt.of(i))
				i++
			}
		})
	}
}

// A histogram of any file is read whole or refused. The target packs half of the inputs itself, because
// random damage hardly ever passes zlib.
func FuzzHistogram(f *testing.F) {
	for _, values := range [][]int64{nil, {1}, {1, 1_000, 1_000_000, HighestLatency}, {-1, math.MaxInt64}} {
		h := export(f, recorderOf(values))
		f.Add([]byte(h.HDR), false, h.Count, h.Min, h.Max)
		f.Add([]byte(h.HDR[:len(h.HDR)-4]), false, h.Count, h.Min, h.Max)
		f.Add(unpack(f, h.HDR), true, h.Count, h.Min, h.Max)
	}
	f.Fuzz(func(t *testing.T, hdr []byte, packed bool, count, lo, hi int64) {
		text := string(hdr)
		if packed {
			text = pack(t, hdr)
		}
		r, err := Histogram{Unit: "ns", Count: count, Min: lo, Max: hi, HDR: text}.Recorder()
		if err != nil {
			return
		}
		again := export(t, r)
		if again.Count != count {
			t.Fatalf("count %d, read back %d", count, again.Count)
		}
		if _, err := again.Recorder(); err != nil {
			t.Fatalf("what was read can't be read again: %v", err)
		}
	})
}

// packedHeader is the cookie and the length before the compressed part.
const packedHeader = 8

func pack(t testing.TB, plain []byte) string {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(hdrhistogram.V2CompressedEncodingCookieBase))
	out = binary.BigEndian.AppendUint32(out, uint32(b.Len()))
	return base64.StdEncoding.EncodeToString(append(out, b.Bytes()...))
}

func unpack(t testing.TB, hdr string) []byte {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(hdr)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed[packedHeader:]))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
