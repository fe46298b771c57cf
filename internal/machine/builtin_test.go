package machine

import (
	"testing"
)

func TestLoad(t *testing.T) {
	for name, want := range map[string]string{
		"folklor": "did you mean folklore", "x": "there are: .*folklore", "./none.conf": "none.conf: no such file", "/": "is a directory",
	} {
		if _, err := Load(name); err == nil || !matches(want, err.Error()) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
