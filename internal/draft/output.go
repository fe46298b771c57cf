package draft

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Output is a file that a user has named. Whether it can be written is tried when it is opened; it
// has its name only when it is whole, so an earlier file stays if the program is killed.
type Output struct {
	path    string      // of a regular file, symbolic links resolved
	mode    fs.FileMode // for the file
	special *os.File    // a pipe, a device or one of own: open until the end
	shared  bool        // special is one of own, and stays open
}

// Open opens an output. Without a path what is written to it goes nowhere. own are files that are
// open already, as stdout: if the path is one of them (/dev/stdout), that is written to. One that is
// redirected to a file is regular, and must not be replaced by another.
func Open(path string, own ...*os.File) (*Output, error) {
	if path == "" {
		return &Output{}, nil
	}
	o := &Output{path: path, mode: 0o644}
	info, err := os.Stat(path)
	switch {
	case err == nil:
		for _, f := range own {
			if i, err := f.Stat(); err == nil && os.SameFile(info, i) {
				return &Output{special: f, shared: true}, nil
			}
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, Cause(err)
		}
		if !info.Mode().IsRegular() {
			return &Output{special: f}, nil
		}
		// The file behind a link is replaced, never the link: /dev/fd/3 is one.
		o.mode = info.Mode().Perm()
		o.path, err = filepath.EvalSymlinks(path)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, Cause(err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, Cause(err)
	}
	f, err := Create(o.path)
	if err != nil {
		return nil, Cause(err)
	}
	return o, f.Discard()
}

// Cause leaves out the name of a file, which the caller says, or which is that of a draft.
func Cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Save writes the output whole. If write fails an earlier file stays.
func (o *Output) Save(write func(io.Writer) error) error {
	w, err := o.Begin()
	if err != nil {
		return err
	}
	if err := write(w); err != nil {
		return errors.Join(err, w.Discard())
	}
	return w.Keep()
}

// Writing is what has been written of an output. Either Keep or Discard ends it.
type Writing struct {
	io.Writer
	of   *Output
	file *File // nil if it is no regular file
}

// Begin begins to write.
func (o *Output) Begin() (*Writing, error) {
	switch {
	case o.special != nil:
		return &Writing{Writer: o.special, of: o}, nil
	case o.path == "":
		return &Writing{Writer: io.Discard, of: o}, nil
	}
	f, err := Create(o.path)
	if err != nil {
		return nil, err
	}
	return &Writing{Writer: f, of: o, file: f}, nil
}

// Keep gives the whole file its name, in place of an earlier one.
func (w *Writing) Keep() error {
	if w.file == nil {
		return w.of.close()
	}
	return w.file.Keep(w.of.mode)
}

// Discard leaves an earlier file as it was.
func (w *Writing) Discard() error {
	if w.file == nil {
		return w.of.close()
	}
	return w.file.Discard()
}

func (o *Output) close() error {
	if o.special == nil || o.shared {
		return nil
	}
	return o.special.Close()
}
