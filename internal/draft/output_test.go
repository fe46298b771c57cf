package draft

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// Saving replaces the file behind a link, keeps its mode, and leaves nothing else.
func TestOutputReplacesTheFileBehindALink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("earlier"), 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	out, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "earlier" {
		t.Errorf("before the run the file holds %q, %v", content, err)
	}
	if err := out.Save(func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(file)
	if err != nil || info.Mode() != 0o600 || info.Size() != int64(len("whole")) {
		t.Errorf("the file is %v, %v", info, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "file" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
