package metrics

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// Samples merge to the same in any order, and Shortened loses no count.
func TestSaidMerge(t *testing.T) {
	sample := rapid.Custom(func(t *rapid.T) *Said {
		s := &Said{Others: uint64(rapid.IntRange(0, 3).Draw(t, "others"))}
		for i := range rapid.IntRange(0, 12).Draw(t, "texts") {
			s.Texts = append(s.Texts, SaidText{
				Failure: rapid.SampledFrom([]string{"exchange.reset", "hello.timeout"}).Draw(t, "failure"),
				Text:    fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "text"), "-", i), Count: uint64(rapid.IntRange(1, 9).Draw(t, "count")),
			})
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := sample.Draw(t, "a"), sample.Draw(t, "b"), sample.Draw(t, "c")
		one, other := a.Merge(b).Merge(c), c.Merge(a.Merge(b))
		if !reflect.DeepEqual(one, other) {
			t.Fatalf("%+v\n%+v", one, other)
		}
		if one.Sampled() != a.Sampled()+b.Sampled()+c.Sampled() {
			t.Fatalf("%d answers of %d", one.Sampled(), a.Sampled()+b.Sampled()+c.Sampled())
		}
		short := one.Shortened()
		if short.Sampled() != one.Sampled() || len(short.Texts) > saidShown {
			t.Fatalf("%+v\n%+v", one, short)
		}
		for i := 1; i < len(short.Texts); i++ {
			if short.Texts[i].Count > short.Texts[i-1].Count {
				t.Fatalf("not the most frequent first: %+v", short)
			}
		}
	})
	var none *Said
	if none.Merge(nil) != nil || none.Shortened() != nil {
		t.Error("nothing was said, and is told")
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"-DENIED\r\n\tü": `-DENIED\r\n\tü`, `a\b"c"`: `a\\b"c"`, "\x00\x1b[31m": `\x00\x1b[31m`, "\xff\u200b": `\xff\xe2\x80\x8b`,
	} {
		if got := Escape([]byte(in)); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}
