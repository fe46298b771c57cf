package workload

import (
	"testing"

	"github.com/spf13/pflag"
)

// Rules are about flags that exist.
func TestRulesAreAboutFlags(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	blank("").register(f)
	for _, x := range exclusions {
		for _, term := range append([]term{x.first}, x.others...) {
			if f.Lookup(term.flag) == nil {
				t.Errorf("a rule is about --%s, which is no flag", term.flag)
			}
		}
	}
}
