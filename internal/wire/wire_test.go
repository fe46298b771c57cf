package wire

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseReturnsWhatAppendWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Script{
			Kind:         Kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")),
			CloseBy:      Closer(rapid.IntRange(0, int(closers)-1).Draw(t, "closer")),
			CloseHow:     How(rapid.IntRange(0, int(hows)-1).Draw(t, "how")),
			RequestSize:  rapid.Uint32().Draw(t, "request"),
			ResponseSize: rapid.Uint32().Draw(t, "response"),
			Exchanges:    rapid.Uint16Min(1).Draw(t, "exchanges"),
			Refusals:     rapid.Bool().Draw(t, "refusals"),
		}
		want.Pattern = want.Refusals && rapid.Bool().Draw(t, "pattern")
		if want.Kind == Listen || want.Kind == Ping {
			want.Beat = time.Duration(rapid.Uint16Min(1).Draw(t, "beat")) * BeatUnit
			want.CloseBy, want.CloseHow = Client, How(rapid.IntRange(0, 1).Draw(t, "reap"))
			want.RequestSize, want.ResponseSize = max(want.RequestSize, 1), max(want.ResponseSize, 1)
		}
		if want.Kind == Listen {
			want.ResponseSize = 0
		}
		if want.check() != nil {
			t.Skip("contradicts itself")
		}
		b := want.Append(nil)
		if len(b) != HeaderSize {
			t.Fatalf("header of %d bytes, want %d", len(b), HeaderSize)
		}
		got, err := Parse(b)
		if err != nil || got != want {
			t.Fatalf("Parse = %+v, %v; want %+v", got, err, want)
		}
	})
}

func TestParseRejects(t *testing.T) {
	sound := Script{Exchanges: 1}.Append(nil)
	with := func(i int, v byte) []byte {
		b := append([]byte(nil), sound...)
		b[i] = v
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"empty", nil, ErrMagic},
		{"half a header", sound[:HeaderSize-1], ErrMagic},
		{"http", []byte("GET / HTTP/1.1\r\n"), ErrMagic},
		{"next version", with(2, Version+1), ErrVersion},
		{"version 0", with(2, 0), ErrVersion},
		{"refusal of version 1", with(3, byte(Refused)<<4), ErrScript},
		{"pings of a pattern", Script{Kind: Ping, Beat: BeatUnit, Exchanges: 1, RequestSize: 1, ResponseSize: 1, Pattern: true}.Append(nil), ErrScript},
		{"unknown kind", with(3, 0xf0), ErrScript},
		{"unknown close", with(3, 0x03), ErrScript},
		{"beat without pings", with(15, 1), ErrScript},
		{"both close after nothing", Script{CloseBy: Both}.Append(nil), ErrScript},
		{"never by RST", Script{CloseBy: Never, CloseHow: RST}.Append(nil), ErrScript},
		{"half-close by the server", Script{CloseBy: Server, CloseHow: HalfClose, Exchanges: 1}.Append(nil), ErrScript},
		{"half-close without a last request", Script{CloseHow: HalfClose}.Append(nil), ErrScript},
		{"listen without a beat", Script{Kind: Listen, Exchanges: 1, RequestSize: 1}.Append(nil), ErrScript},
		{"listen without a limit", Script{Kind: Listen, RequestSize: 1, Beat: BeatUnit}.Append(nil), ErrScript},
		{"listen and respond", Script{Kind: Listen, Beat: BeatUnit, Exchanges: 1, RequestSize: 1, ResponseSize: 1}.Append(nil), ErrScript},
		{"listen to nothing", Script{Kind: Listen, Beat: BeatUnit, Exchanges: 1}.Append(nil), ErrScript},
		{"ping without an answer", Script{Kind: Ping, Beat: BeatUnit, Exchanges: 1, ResponseSize: 1}.Append(nil), ErrScript},
		{"server closes after nothing", Script{CloseBy: Server}.Append(nil), ErrScript},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.in); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestNamesRoundTrip(t *testing.T) {
	for _, word := range CloserNames() {
		var c Closer
		if err := c.UnmarshalText([]byte(word)); err != nil || c.String() != word {
			t.Errorf("%q became %v, %v", word, c, err)
		}
	}
	for _, word := range HowNames() {
		var h How
		if err := h.UnmarshalText([]byte(word)); err != nil || h.String() != word {
			t.Errorf("%q became %v, %v", word, h, err)
		}
	}
	var h How
	if err := h.UnmarshalText([]byte("fn")); err == nil {
		t.Error("an unknown word was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Script{Exchanges: 1}.Append(nil))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		again := s.Append(nil)
		if string(again) != string(b[:HeaderSize]) {
			t.Errorf("% x parsed to %+v, which is written % x", b[:HeaderSize], s, again)
		}
	})
}

func TestAppendRoundsTheBeatUp(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{
		1: BeatUnit, BeatUnit: BeatUnit, BeatUnit + 1: 2 * BeatUnit, MaxBeat: MaxBeat, MaxBeat + 1: MaxBeat,
	} {
		s, err := Parse(Script{Kind: Listen, Exchanges: 1, RequestSize: 1, Beat: in}.Append(nil))
		if err != nil || s.Beat != want {
			t.Errorf("%v became %v, %v; want %v", in, s.Beat, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Refusal(rapid.Uint16Min(1).Draw(t, "refusal"))
		before := make([]byte, rapid.IntRange(0, 100).Draw(t, "before")) // responses
		b := want.Append(before)
		if len(b) != len(before)+HeaderSize {
			t.Fatalf("%d bytes", len(b)-len(before))
		}
		if got := ParseRefusal(b); got != want {
			t.Fatalf("%d became %d", want, got)
		}
		if got := ParseRefusal(append(b, 0)); got != 0 {
			t.Fatalf("a byte after it, and it is %d", got)
		}
		b[rapid.SampledFrom([]int{0, 1, 2, 3, 4, 11, 14, 15}).Draw(t, "byte")+len(before)] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got := ParseRefusal(b); got != 0 {
			t.Fatalf("a bit is wrong, and it is %d", got)
		}
		if got := ParseRefusal(b[:rapid.IntRange(0, HeaderSize-1).Draw(t, "part")]); got != 0 {
			t.Fatalf("a part is %d", got)
		}
	})
}

// No two places of the pattern look alike, and no piece of it looks like a refusal.
func TestPattern(t *testing.T) {
	const piece = 8
	seen := map[string]bool{}
	for at := range uint64(PatternPeriod) {
		b := Pattern(at, piece)
		if seen[string(b)] || bytes.IndexByte(b, magic0) >= 0 {
			t.Fatalf("%d: % x", at, b)
		}
		seen[string(b)] = true
	}
	for _, at := range []uint64{0, 1, PatternPeriod - 1, PatternPeriod, 3*PatternPeriod + 7} {
		long := Pattern(at, 1<<20)
		if len(long) != PatternPeriod {
			t.Fatalf("%d bytes", len(long))
		}
		for _, i := range []uint64{0, 1, PatternPeriod / 2, PatternPeriod - piece} {
			if !bytes.Equal(long[i:i+piece], Pattern(at+i, piece)) {
				t.Errorf("%d + %d: two ways to the same place differ", at, i)
			}
		}
	}
}

// What a client of version 1 sends has not changed, and it reads what it gets.
func TestVersion1(t *testing.T) {
	script := Script{RequestSize: 64, ResponseSize: 64, Exchanges: 1}
	if got := fmt.Sprintf("% x", script.Append(nil)); got != "74 62 01 00 00 00 00 40 00 00 00 40 00 01 00 00" {
		t.Errorf("version 1 is now % s", got)
	}
	script.Refusals = true
	if got := fmt.Sprintf("% x", script.Append(nil)); got != "74 62 02 00 00 00 00 40 00 00 00 40 00 01 00 00" {
		t.Errorf("version 2 is now % s", got)
	}
	script.Pattern = true
	if got := fmt.Sprintf("% x", script.Append(nil)); got != "74 62 03 00 00 00 00 40 00 00 00 40 00 01 00 00" {
		t.Errorf("version 3 is now % s", got)
	}
}
