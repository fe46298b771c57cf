package alone

import (
	"runtime/debug"
	"slices"
)

// UnderRace tells whether the race detector is built in. It takes several times the memory, and
// drops what sync.Pool keeps at random, so that code with a pool allocates.
func UnderRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
