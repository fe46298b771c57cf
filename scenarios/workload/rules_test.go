package workload

import "testing"

// Rules are about flags that exist.
func TestRulesAreAboutFlags(t *testing.T) {
	w := blank("")
	check := func(name string) {
		if w.flags.Lookup(name) == nil {
			t.Errorf("a rule is about --%s, which is no flag", name)
		}
	}
	for _, f := range w.table {
		for _, name := range f.replaces {
			check(name)
		}
		for _, x := range f.excludes {
			for _, other := range x.others {
				check(other.flag)
			}
		}
	}
}
