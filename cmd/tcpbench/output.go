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
	path    string      // of a regular file, symbolic links resolved
	mode    fs.FileMode // for the file
	special *os.File    // a pipe, a device or our own stdout: open for the whole run
	shared  bool        // special is not ours to close
}

func openOutput(path string) (*output, error) {
	if path == "" {
		return &output{}, nil
	}
	o := &output{path: path, mode: 0o644}
	info, err := os.Stat(path)
	switch {
	case err == nil:
		if own := standard(info); own != nil {
			return &output{special: own, shared: true}, nil
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, cause(err)
		}
		if !info.Mode().IsRegular() {
			return &output{special: f}, nil
		}
		// The file behind a link is replaced, never the link: /dev/fd/3 is one.
		o.mode = info.Mode().Perm()
		o.path, err = filepath.EvalSymlinks(path)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, cause(err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, cause(err)
	}
	f, err := o.temporary()
	if err != nil {
		return nil, cause(err)
	}
	return o, errors.Join(f.Close(), os.Remove(f.Name()))
}

// standard returns stdout or stderr if that is the file, as with --out /dev/stdout. One
// that is redirected to a file is regular, and must not be replaced by another.
func standard(info fs.FileInfo) *os.File {
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if own, err := f.Stat(); err == nil && os.SameFile(info, own) {
			return f
		}
	}
	return nil
}

// cause leaves out what the caller names anyway, and the name of a temporary file.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func (o *output) temporary() (*os.File, error) {
	return os.CreateTemp(filepath.Dir(o.path), "."+filepath.Base(o.path)+".*")
}

// commit writes the result.
func (o *output) commit(r *metrics.Result) error {
	switch {
	case o.shared:
		return r.Write(o.special)
	case o.special != nil:
		return errors.Join(r.Write(o.special), o.special.Close())
	case o.path == "":
		return nil
	}
	f, err := o.temporary()
	if err != nil {
		return fmt.Errorf("save result: %w", err)
	}
	err = errors.Join(r.Write(f), f.Chmod(o.mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), o.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("save result: %w", err)
	}
	return nil
}
