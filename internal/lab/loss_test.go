package lab

import (
	"math"
	"slices"
	"tcpbench/internal/segment"
	"testing"

	"pgregory.net/rapid"
)

// decisions asks losses about n packets of one kind.
func decisions(l *losses, n int) (lost []int) {
	packet := []byte{0x45, 0, 0, 40, 9: 6, 32: 5 << 4, 33: byte(segment.SYN | segment.ACK), 39: 0}
	for i := range n {
		if l.loses(packet) {
			lost = append(lost, i)
		}
	}
	return lost
}

// The same seed loses the same packets, whatever the rules; and each count balances: what
// one verb was asked and has not lost is asked of the next.
func TestLossesRepeat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		how := Impairment{
			Loss: float64(rapid.IntRange(0, 10).Draw(t, "loss")) / 10, Every: rapid.Uint32Range(0, 9).Draw(t, "every"),
			Seed: rapid.Uint64().Draw(t, "seed"),
		}
		if rapid.Bool().Draw(t, "drop") {
			how.Drop = []segment.Flags{rapid.SampledFrom([]segment.Flags{segment.SYN, segment.SYN | segment.ACK}).Draw(t, "flags")}
		}
		const n = 500
		tallies := [2]lossTally{}
		first, second := decisions(newLosses(&how, 3, 0, &tallies[0]), n), decisions(newLosses(&how, 3, 0, &tallies[1]), n)
		if !slices.Equal(first, second) {
			t.Fatalf("%v, and then %v", first, second)
		}
		drop, every, loss := tallies[0].drop.read(), tallies[0].every.read(), tallies[0].loss.read()
		if uint64(len(first)) != drop.Done+every.Done+loss.Done {
			t.Fatalf("%d lost; drop %+v, every %+v, loss %+v", len(first), drop, every, loss)
		}
		left := uint64(n)
		for _, v := range []struct {
			asked bool
			tally Tally
		}{{len(how.Drop) > 0, drop}, {how.Every > 0, every}, {how.Loss > 0, loss}} {
			if v.asked && v.tally.Asked != left || !v.asked && v.tally != (Tally{}) {
				t.Fatalf("%+v of %d packets: drop %+v, every %+v, loss %+v", v.tally, left, drop, every, loss)
			}
			left -= v.tally.Done
		}
	})
}

// Other seeds and other directions lose other packets, and as many.
func TestLossesDiffer(t *testing.T) {
	const n = 10000
	how := Impairment{Loss: 0.1}
	reference := decisions(newLosses(&how, 0, 0, &lossTally{}), n)
	for name, l := range map[string]*losses{
		"another seed of the link":       newLosses(&how, 1, 0, &lossTally{}),
		"another seed of the impairment": newLosses(&Impairment{Loss: 0.1, Seed: 1}, 0, 0, &lossTally{}),
		"the other direction":            newLosses(&how, 0, 2, &lossTally{}),
	} {
		other := decisions(l, n)
		if slices.Equal(reference, other) {
			t.Errorf("%s: the same packets", name)
		}
		if deviation := math.Abs(float64(len(other)) - 1000); deviation > 5*30 { // five standard deviations
			t.Errorf("%s: %d of %d are lost", name, len(other), n)
		}
	}
}

// Every loses exactly each n-th, from the n-th on.
func TestEvery(t *testing.T) {
	if lost := decisions(newLosses(&Impairment{Every: 3}, 0, 0, &lossTally{}), 10); !slices.Equal(lost, []int{2, 5, 8}) {
		t.Errorf("%v", lost)
	}
}
