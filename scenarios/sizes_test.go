package scenarios

import (
	"errors"
	"fmt"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
	"testing"
)

// Sizes that are in range each, and too large together, are refused before anything is made.
func TestSizesThatMultiply(t *testing.T) {
	crowd := fmt.Sprint(stage.MostConnections() * (64 + 1))
	for _, c := range []struct {
		over []workload.Setting
		flag string
	}{
		{[]workload.Setting{{Name: "pipeline", Value: "true"}, {Name: "exchanges", Value: "65535"}, {Name: "request-size", Value: "16M"}}, "pipeline"},
		{[]workload.Setting{{Name: "pipeline", Value: "true"}, {Name: "exchanges", Value: "65535"}, {Name: "request-size", Value: "256"}}, ""},
		{[]workload.Setting{{Name: "connections", Value: crowd}}, "connections"},
		{[]workload.Setting{{Name: "connections", Value: crowd}, {Name: "target", Value: "127.0.0.1:9"}}, "connections"},
		{[]workload.Setting{{Name: "burst", Value: crowd}}, "burst"},
		{[]workload.Setting{{Name: "sources", Value: "127.1.0.0/16"}, {Name: "ports", Value: "9000-9016"}}, "sources"},
		{[]workload.Setting{{Name: "sources", Value: "127.1.0.0/16"}, {Name: "ports", Value: "9000-9015"}}, ""},
	} {
		_, err := Blank().Plans(t.Context(), c.over)
		var m workload.Misuse
		if errors.As(err, &m); err != nil && m.Flag == "" || m.Flag != c.flag {
			t.Errorf("%v: %v, want --%s to be blamed", c.over, err, c.flag)
		}
	}
}
