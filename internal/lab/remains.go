package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel takes a namespace away in the background: it purges the sockets in TIME_WAIT,
// which takes processor time from whatever runs next.

// Remains tells when the kernel has taken a lab away.
type Remains struct {
	hosts []*os.File
}

// statistics is a directory of /proc that each namespace has for itself. The handle to it does
// not keep the namespace alive. The kernel takes the parts of a namespace away in the reverse
// order of their registration: the file routes, which it registers before TCP, is gone only
// after the purge of TCP's sockets (inet_init, cleanup_net).
const (
	statistics = "/proc/thread-self/net/stat"
	routes     = "rt_cache"
)

// remainsPoll is how often Wait looks. Nothing in the kernel announces the end of a namespace.
const remainsPoll = time.Millisecond

// Remains watches the lab's end. It must be called before Close; the caller closes it.
func (l *Lab) Remains() (*Remains, error) {
	r := &Remains{}
	for _, h := range []*Host{l.Client, l.Server} {
		err := h.Do(func() error {
			fd, err := unix.Open(statistics, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open %s of the lab's %s: %w", statistics, h.Name, err)
			}
			f := os.NewFile(uintptr(fd), statistics)
			r.hosts = append(r.hosts, f)
			if gone, err := taken(f); err != nil || gone {
				return fmt.Errorf("%s/%s of the lab's %s is missing, so the lab's end cannot be seen: %w", statistics, routes, h.Name, errors.Join(err, os.ErrNotExist))
			}
			return nil
		})
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// taken tells whether the namespace has lost its statistics.
func taken(dir *os.File) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), routes, &st, 0)
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, unix.ENOENT):
		return true, nil
	}
	return false, os.NewSyscallError("fstatat", err)
}

// Wait returns when the kernel has taken both hosts away, with all their sockets. After the
// limit it returns an error: something still holds the lab, such as a socket that waits for
// the acknowledgement of its FIN.
func (r *Remains) Wait(ctx context.Context, limit time.Duration) error {
	began := time.Now()
	tick := time.NewTicker(remainsPoll)
	defer tick.Stop()
	for _, h := range r.hosts {
		for {
			gone, err := taken(h)
			if err != nil {
				return fmt.Errorf("wait for the end of a lab: %w", err)
			}
			if gone {
				break
			}
			if time.Since(began) > limit {
				return fmt.Errorf("the kernel has not taken the lab's namespaces away after %v", limit)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// Close lets go of the handles.
func (r *Remains) Close() error {
	var errs []error
	for _, h := range r.hosts {
		errs = append(errs, h.Close())
	}
	r.hosts = nil
	return errors.Join(errs...)
}
