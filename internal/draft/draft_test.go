package draft

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// names are what a directory holds.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestDraft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second"} {
		for _, keep := range []bool{false, true} {
			before, _ := os.ReadFile(path)
			earlier := len(names(t, dir))
			d, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(d, text); err != nil {
				t.Fatal(err)
			}
			// What a process leaves that is killed now.
			if left := names(t, dir); d.hidden == "" && len(left) != earlier {
				t.Errorf("the directory holds %v", left)
			}
			want := string(before)
			if keep {
				want, err = text, d.Keep(0o640)
			} else {
				err = d.Discard()
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if string(got) != want || (err != nil) != (want == "") {
				t.Errorf("keep %v: the file holds %q, %v, want %q", keep, got, err, want)
			}
			if info, err := os.Stat(path); keep && (err != nil || info.Mode() != 0o640) {
				t.Errorf("%v, %v", info, err)
			}
		}
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("the directory holds %v", all)
	}
	if _, err := Create(filepath.Join(dir, "none", "file")); err == nil {
		t.Error("a draft in a directory that is not there")
	}
}
