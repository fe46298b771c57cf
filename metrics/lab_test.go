package metrics

import (
	"encoding/json"
	"testing"
)

// A link of a document from the time when the kernel delayed packets is still read.
func TestOldLinksAreRead(t *testing.T) {
	var l Lab
	const old = `{"client":{"profile":"a","settings":[]},"server":{"profile":"b","settings":[]},
		"to_client":{"impairment":"delay=5ms,loss=1%","lost":3,"overflows":2,"late_p99":7,"netem":true}}`
	if err := json.Unmarshal([]byte(old), &l); err != nil {
		t.Fatal(err)
	}
	if to := l.ToClient; to == nil || to.Impairment != "delay=5ms,loss=1%" || to.Lost != 3 || to.Overflows != 2 || to.LateP99 != 7 || to.Verbs != nil {
		t.Errorf("%+v", to)
	}
}
