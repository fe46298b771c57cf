package server

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"tcpbench/internal/wire"
)

func TestProtocolPageIsTrue(t *testing.T) {
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for r := range nreasons {
		if !strings.Contains(page, "`"+r.String()+"`") {
			t.Errorf("docs/protocol.md does not tell what %s is", r)
		}
	}
	example := fmt.Sprintf("% x", wire.Script{RequestSize: 64, ResponseSize: 64, Exchanges: 1}.Append(nil))
	refusal := fmt.Sprintf("% x", wire.NoDescriptors.Append(nil))
	for _, bytes := range []string{example, refusal} {
		if !strings.Contains(strings.ReplaceAll(page, "  ", " "), bytes) {
			t.Errorf("docs/protocol.md does not show %s", bytes)
		}
	}
	for _, said := range refusals {
		if said != 0 && !strings.Contains(page, fmt.Sprintf("\n| %d | ", said)) {
			t.Errorf("docs/protocol.md does not tell what refusal %d is", said)
		}
	}
}
