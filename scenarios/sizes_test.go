package scenarios

import (
	"errors"
	"fmt"
	"tcpbench/scenarios/stage"
	"testing"
)

// Sizes that are in range each, and too large together, are refused before anything is made.
func TestSizesThatMultiply(t *testing.T) {
	crowd := fmt.Sprint(stage.MostConnections() * (mostProcesses + 1))
	for _, c := range []struct {
		over []Override
		flag string
	}{
		{[]Override{{"pipeline", "true"}, {"exchanges", "65535"}, {"request-size", "16M"}}, "pipeline"},
		{[]Override{{"pipeline", "true"}, {"exchanges", "65535"}, {"request-size", "256"}}, ""},
		{[]Override{{"connections", crowd}}, "connections"},
		{[]Override{{"connections", crowd}, {"target", "127.0.0.1:9"}}, "connections"},
		{[]Override{{"burst", crowd}}, "burst"},
		{[]Override{{"sources", "127.1.0.0/16"}, {"ports", "9000-9016"}}, "sources"},
		{[]Override{{"sources", "127.1.0.0/16"}, {"ports", "9000-9015"}}, ""},
	} {
		_, err := Blank().Stages(t.Context(), c.over)
		var m Misuse
		if errors.As(err, &m); err != nil && m.Flag == "" || m.Flag != c.flag {
			t.Errorf("%v: %v, want --%s to be blamed", c.over, err, c.flag)
		}
	}
}
