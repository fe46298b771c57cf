package scenarios

import (
	"bytes"
	"strings"
	"testing"
)

// The catalogue is read when the program starts: every file must be sound, say why it is
// there, and be found by its name.
func TestCatalogueIsSound(t *testing.T) {
	entries, err := catalogue.ReadDir("catalogue")
	if err != nil || len(entries) != len(Builtins()) {
		t.Errorf("%d files, %d scenarios, %v", len(entries), len(Builtins()), err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".yaml")
		s, ok := Find(name)
		if !ok {
			t.Errorf("%s is not found", name)
			continue
		}
		if s.Name != name || s.Summary == "" || !bytes.HasPrefix(s.Text, []byte("# ")) {
			t.Errorf("%s: name %q, summary %q, or no why on top", name, s.Name, s.Summary)
		}
	}
	for _, name := range []string{"", "nosuch", "../catalogue/short", "short.yaml"} {
		if _, ok := Find(name); ok {
			t.Errorf("%q is found", name)
		}
	}
}
