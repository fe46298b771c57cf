package wire

import "testing"

// Nobody is told of less room than there is.
func TestRoom(t *testing.T) {
	for connections, want := range map[int]int{-1: 0, 0: 0, 1: 16, 16: 16, 17: 32, 100_000: 100_000, 1 << 20: 0, 1 << 40: 0} {
		if got := Connections(Room(connections)); got != want {
			t.Errorf("room for %d is told as %d, want %d", connections, got, want)
		}
	}
}
