package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"tcpbench/internal/draft"
	"tcpbench/metrics"
)

// output is where --out and --pcap write. Whether it can be written is tried before the run;
// the file has its name only when it is whole, so that an earlier one stays if the run is
// killed.
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
	f, err := draft.Create(o.path)
	if err != nil {
		return nil, cause(err)
	}
	return o, f.Discard()
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

// commit writes the result.
func (o *output) commit(r *metrics.Result) error {
	d, err := o.begin()
	if err != nil {
		return fmt.Errorf("save result: %w", err)
	}
	if err := r.Write(d); err != nil {
		return errors.Join(fmt.Errorf("save result: %w", err), d.discard())
	}
	if err := d.keep(); err != nil {
		return fmt.Errorf("save result: %w", err)
	}
	return nil
}

// outcome is what is written of an output before it is whole. Either keep or discard ends it.
type outcome struct {
	io.Writer
	of   *output
	file *draft.File // nil of one that is special
}

// begin opens an outcome. Without a path it goes nowhere.
func (o *output) begin() (*outcome, error) {
	switch {
	case o.special != nil:
		return &outcome{Writer: o.special, of: o}, nil
	case o.path == "":
		return &outcome{Writer: io.Discard, of: o}, nil
	}
	f, err := draft.Create(o.path)
	if err != nil {
		return nil, err
	}
	return &outcome{Writer: f, of: o, file: f}, nil
}

// keep gives a whole outcome its name, in place of an earlier file.
func (d *outcome) keep() error {
	if d.file == nil {
		return d.of.close()
	}
	return d.file.Keep(d.of.mode)
}

// discard leaves an earlier file as it was.
func (d *outcome) discard() error {
	if d.file == nil {
		return d.of.close()
	}
	return d.file.Discard()
}

// close lets go of a special file that is ours.
func (o *output) close() error {
	if o.special == nil || o.shared {
		return nil
	}
	return o.special.Close()
}
