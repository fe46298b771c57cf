// Package draft writes files that get their name only when they are complete. Until then an earlier file
// of that name stays, and a process that is killed leaves nothing.
package draft

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is a draft, until Keep or Discard.
type File struct {
	*os.File
	path string
	// hidden is the temporary name, if the file system has no files without a name (O_TMPFILE,
	// open(2)).
	hidden string
}

// Create begins a draft of the file path.
func Create(path string) (*File, error) {
	d := &File{path: path}
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		d.File = os.NewFile(uintptr(fd), path)
		if _, err := os.Lstat(d.link()); err == nil {
			return d, nil
		}
		d.Close() // without /proc it cannot get a name
	}
	d.File, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	d.hidden = d.Name()
	return d, nil
}

// link leads to the open file.
func (d *File) link() string { return fmt.Sprintf("/proc/self/fd/%d", d.Fd()) }

// Keep gives a draft its mode and name. It replaces an earlier file.
func (d *File) Keep(mode fs.FileMode) error {
	err := d.Chmod(mode)
	if err == nil && d.hidden == "" {
		err = d.named()
	}
	err = errors.Join(err, d.Close())
	if err == nil && d.hidden != "" {
		err = os.Rename(d.hidden, d.path)
	}
	if err != nil {
		d.remove()
	}
	return err
}

// named gives the draft its name, or a hidden one if that exists: link(2) replaces no file.
func (d *File) named() error {
	name := d.path
	for {
		err := unix.Linkat(unix.AT_FDCWD, d.link(), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
		switch {
		case err == nil && name != d.path:
			d.hidden = name
			return nil
		case !errors.Is(err, unix.EEXIST):
			return os.NewSyscallError("linkat", err)
		}
		name = filepath.Join(filepath.Dir(d.path), fmt.Sprintf(".%s.%d", filepath.Base(d.path), rand.Uint32()))
	}
}

// Discard removes the draft. An earlier file stays.
func (d *File) Discard() error {
	err := d.Close()
	d.remove()
	return err
}

func (d *File) remove() {
	if d.hidden != "" {
		_ = os.Remove(d.hidden) // an earlier error matters more
	}
}
