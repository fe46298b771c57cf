package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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

// draft is what is written of an output before it is whole. Either keep or discard ends it.
type draft struct {
	io.Writer
	of        *output
	temporary *os.File // beside the file that it becomes; nil of one that is special
}

// begin opens a draft. Without a path it goes nowhere.
func (o *output) begin() (*draft, error) {
	switch {
	case o.special != nil:
		return &draft{Writer: o.special, of: o}, nil
	case o.path == "":
		return &draft{Writer: io.Discard, of: o}, nil
	}
	f, err := o.temporary()
	if err != nil {
		return nil, err
	}
	return &draft{Writer: f, of: o, temporary: f}, nil
}

// keep gives a whole draft its name, in place of an earlier file.
func (d *draft) keep() error {
	if d.temporary == nil {
		return d.of.close()
	}
	err := errors.Join(d.temporary.Chmod(d.of.mode), d.temporary.Close())
	if err == nil {
		err = os.Rename(d.temporary.Name(), d.of.path)
	}
	if err != nil {
		_ = os.Remove(d.temporary.Name())
	}
	return err
}

// discard leaves an earlier file as it was.
func (d *draft) discard() error {
	if d.temporary == nil {
		return d.of.close()
	}
	return errors.Join(d.temporary.Close(), os.Remove(d.temporary.Name()))
}

// close lets go of a special file that is ours.
func (o *output) close() error {
	if o.special == nil || o.shared {
		return nil
	}
	return o.special.Close()
}
