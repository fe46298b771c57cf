package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tcpbench/metrics"
)

// output is where --out writes. Whether it can be written is tried before the run; the
// file itself is made when the result is there, whole or not at all, so that a run that
// is killed leaves nothing and an earlier result stays.
type output struct {
	path    string
	special *os.File // a pipe or a device, open for the whole run
}

func openOutput(path string) (*output, error) {
	if path == "" {
		return &output{}, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f, err := os.CreateTemp(filepath.Dir(path), temporary(path))
		if err != nil {
			return nil, err
		}
		return &output{path: path}, errors.Join(f.Close(), os.Remove(f.Name()))
	case err != nil:
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return &output{special: f}, nil
	}
	return &output{path: path}, f.Close()
}

func temporary(path string) string { return "." + filepath.Base(path) + ".*" }

// commit writes the result.
func (o *output) commit(r *metrics.Result) error {
	switch {
	case o.special != nil:
		return errors.Join(r.Write(o.special), o.special.Close())
	case o.path == "":
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(o.path), temporary(o.path))
	if err != nil {
		return fmt.Errorf("save result: %w", err)
	}
	err = errors.Join(r.Write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), o.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("save result: %w", err)
	}
	return nil
}
