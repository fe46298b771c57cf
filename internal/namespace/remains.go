package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Remains tells when the kernel has taken network namespaces away. It does so in the background:
// it purges their sockets in TIME_WAIT, which takes processor time from whatever runs next.
type Remains struct{ of []*os.File }

// statistics is a directory of /proc that each namespace has for itself. A handle to it does not
// keep the namespace alive. The kernel takes the parts of a namespace away in the reverse order of
// their registration: the file routes, which it registers before TCP, is gone only after the purge
// of TCP's sockets (inet_init, cleanup_net).
const (
	statistics = "/proc/thread-self/net/stat"
	routes     = "rt_cache"
)

// remainsPoll is how often Wait looks. Nothing in the kernel announces the end of a namespace.
const remainsPoll = time.Millisecond

// Watch watches the end of open namespaces. The caller closes it.
func Watch(all ...*Network) (*Remains, error) {
	r := &Remains{}
	for _, n := range all {
		err := n.Do(func() error {
			fd, err := unix.Open(statistics, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open %s: %w", statistics, err)
			}
			f := os.NewFile(uintptr(fd), statistics)
			r.of = append(r.of, f)
			if gone, err := taken(f); err != nil || gone {
				return fmt.Errorf("%s/%s is missing: %w", statistics, routes, errors.Join(err, os.ErrNotExist))
			}
			return nil
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("watch the end of the network namespace %s: %w", n.Name, err), r.Close())
		}
	}
	return r, nil
}

// taken tells whether a namespace has lost its statistics.
func taken(dir *os.File) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), routes, &st, 0)
	if errors.Is(err, unix.ENOENT) {
		return true, nil
	}
	return false, os.NewSyscallError("fstatat", err)
}

// Wait returns when the kernel has taken all namespaces away, with their sockets. After the limit
// it returns an error: something still holds one, such as a socket that waits for the
// acknowledgement of its FIN.
func (r *Remains) Wait(ctx context.Context, limit time.Duration) error {
	began := time.Now()
	tick := time.NewTicker(remainsPoll)
	defer tick.Stop()
	for _, dir := range r.of {
		for {
			gone, err := taken(dir)
			if err != nil {
				return fmt.Errorf("wait for the end of a network namespace: %w", err)
			}
			if gone {
				break
			}
			if time.Since(began) > limit {
				return fmt.Errorf("the kernel has not taken the network namespaces away after %v", limit)
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
	for _, dir := range r.of {
		errs = append(errs, dir.Close())
	}
	r.of = nil
	return errors.Join(errs...)
}
