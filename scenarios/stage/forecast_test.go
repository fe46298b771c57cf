package stage

import (
	"testing"

	"tcpbench/internal/kernel/sysinfo"
)

// A forecast takes no time that grows with the square of the load.
func TestForecastOfAnyNumber(t *testing.T) {
	p, h := endless(), sysinfo.Host()
	p.Client.Connections = 99_999_999_999
	if l := p.load(&h); l.Spaces < p.CrewSize() {
		t.Errorf("%d pairs of a source and a target for %d processes", l.Spaces, p.CrewSize())
	}
}
