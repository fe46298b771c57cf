package report

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"tcpbench/metrics"
)

// word may be a name in a document, even a hostile one.
func word() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "short", "invalid", "completed", "connect.ports_exhausted", "connect"}),
		rapid.StringMatching(`[a-z_.]{1,120}`),
		rapid.StringN(0, 90, -1),
	)
}

func sampleHistogram() *rapid.Generator[metrics.Histogram] {
	return rapid.Custom(func(t *rapid.T) metrics.Histogram {
		ns := rapid.Int64()
		return metrics.Histogram{
			Count: ns.Draw(t, "count"), Clamped: ns.Draw(t, "clamped"), P50: ns.Draw(t, "p50"),
			P90: ns.Draw(t, "p90"), P99: ns.Draw(t, "p99"), P999: ns.Draw(t, "p999"), Max: ns.Draw(t, "max"),
		}
	})
}

func sampleUsage() *rapid.Generator[*metrics.Usage] {
	return rapid.Ptr(rapid.Custom(func(t *rapid.T) metrics.Usage {
		f := rapid.Float64()
		return metrics.Usage{
			UserS: f.Draw(t, "user"), SystemS: f.Draw(t, "system"), PerConnection: f.Draw(t, "per"),
			UserPerConnection: f.Draw(t, "user per"), SystemPerConnection: f.Draw(t, "system per"),
		}
	}), true)
}

// anyResult is a document of any content, as of another version or an editor.
func anyResult() *rapid.Generator[*metrics.Result] {
	return rapid.Custom(func(t *rapid.T) *metrics.Result {
		counts := rapid.MapOfN(word(), rapid.Uint64(), 0, 5)
		histogramName := rapid.OneOf(rapid.SampledFrom(metrics.HistogramNames()), word())
		f := rapid.Float64()
		r := &metrics.Result{
			Scenario: metrics.Scenario{
				Name: word().Draw(t, "name"), Arrival: word().Draw(t, "arrival"),
				Lifecycle: word().Draw(t, "lifecycle"), Close: word().Draw(t, "close"),
				Target: rapid.SliceOfN(word(), 0, 3).Draw(t, "target"),
			},
			Host:     metrics.Host{CPUs: rapid.Int().Draw(t, "cpus")},
			ElapsedS: f.Draw(t, "elapsed"),
			Tally: metrics.Tally{
				Attempted: rapid.Uint64().Draw(t, "attempted"), Succeeded: rapid.Uint64().Draw(t, "succeeded"),
				Failed: counts.Draw(t, "failed"),
				Open:   rapid.Uint64().Draw(t, "open"), Missed: rapid.Uint64().Draw(t, "missed"),
			},
			Rate: f.Draw(t, "rate"), RateOffered: f.Draw(t, "offered"),
			RateIntended: rapid.Ptr(f, true).Draw(t, "intended"),
			Histograms:   rapid.MapOfN(histogramName, sampleHistogram(), 0, 6).Draw(t, "histograms"),
			CPU: metrics.CPU{
				Client: sampleUsage().Draw(t, "client"), Server: sampleUsage().Draw(t, "server"),
				HostBusy: f.Draw(t, "busy"), HostSteal: f.Draw(t, "steal"),
			},
		}
		if rapid.Bool().Draw(t, "server") {
			r.Server = &metrics.ServerReport{
				Accepted: rapid.Uint64().Draw(t, "accepted"), Open: rapid.Uint64().Draw(t, "server open"),
				Closed: counts.Draw(t, "closed"),
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "checks") {
			r.Checks = append(r.Checks, metrics.Check{
				Name: word().Draw(t, "check"), OK: rapid.Bool().Draw(t, "ok"), Detail: word().Draw(t, "detail"),
			})
		}
		for range rapid.IntRange(0, 3).Draw(t, "flags") {
			r.Flags = append(r.Flags, metrics.Flag{Name: word().Draw(t, "flag"), Why: word().Draw(t, "why")})
		}
		return r
	})
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

// render draws plain text, and fails unless the coloured one says the same.
func render(t *rapid.T, r *metrics.Result, width int) string {
	var text, colored strings.Builder
	if err := Text(&text, r, Style{Width: width}); err != nil {
		t.Fatal(err)
	}
	if err := Text(&colored, r, Style{Width: width, Color: true}); err != nil {
		t.Fatal(err)
	}
	// Coloured blanks at the end of a line stay.
	blanks := regexp.MustCompile(`(?m) +$`)
	if bare := blanks.ReplaceAllString(ansi.ReplaceAllString(colored.String(), ""), ""); bare != text.String() {
		t.Fatalf("colour changes the text:\n%s\nplain:\n%s", bare, text.String())
	}
	return text.String()
}

func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func TestTextOfAnyResult(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyResult().Draw(t, "result")
		width := rapid.OneOf(rapid.Just(0), rapid.IntRange(-10, 200)).Draw(t, "width")
		text := render(t, r, width)

		limit := usualWidth
		if width > 0 {
			limit = max(width, leastWidth)
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if n := columns(line); n > limit {
				t.Errorf("%d columns of %d: %q", n, limit, line)
			}
			if clean(line) != line {
				t.Errorf("control characters in %q", line)
			}
			if line != strings.TrimRight(line, " ") {
				t.Errorf("trailing blanks in %q", line)
			}
		}

		// A name may be broken over lines, so compare without blanks.
		squeezed := squeeze(text)
		for name, n := range r.Failed {
			share := ""
			if r.Attempted > 0 {
				share = Percent(float64(n)/float64(r.Attempted), 2)
			}
			if want := squeeze(Count(n) + share + clean(name)); !strings.Contains(squeezed, want) {
				t.Errorf("no failure %q in\n%s", want, text)
			}
		}
		for _, f := range r.Flags {
			if want := squeeze(clean(f.Why)); !strings.Contains(squeezed, want) {
				t.Errorf("no flag %q in\n%s", want, text)
			}
		}
		for _, c := range r.Checks {
			if want := squeeze(clean(c.Detail)); !c.OK && !strings.Contains(squeezed, want) {
				t.Errorf("no check %q in\n%s", want, text)
			}
		}
		if r.Flagged(invalid) && !strings.HasPrefix(text, "INVALID") {
			t.Errorf("nothing calls this invalid:\n%s", text)
		}
	})
}

// The highest counts of an open loop over an hour fit into 80 columns without abbreviation.
func TestTextKeepsWholeCountsAt80Columns(t *testing.T) {
	r := openLoop(t)
	for name, h := range r.Histograms {
		h.Count = 123_456_789
		r.Histograms[name] = h
	}
	var text strings.Builder
	if err := Text(&text, r, Style{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lifetime_uncorrected ", "123,456,789"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

// A kernel that accounts by ticks may show no time on one side of a short run: zero is a number then.
func TestTextShowsAZeroPartOfProcessorTime(t *testing.T) {
	r := &metrics.Result{ElapsedS: 1, CPU: metrics.CPU{
		Client: &metrics.Usage{UserS: 0.13, UserPerConnection: 63.8, PerConnection: 63.8},
		Server: &metrics.Usage{UserS: 0.01},
	}}
	var text strings.Builder
	if err := Text(&text, r, Style{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"client            63.8 µs     0 s  63.8 µs  0.13\n",
		"server                  –       –        –  0.01\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}
