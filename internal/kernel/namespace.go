package kernel

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Namespace is the inode number of the calling thread's network namespace, by which the
// kernel tells namespaces apart.
func Namespace() (inode uint32, err error) {
	var s unix.Stat_t
	const name = "/proc/thread-self/ns/net"
	if err := unix.Stat(name, &s); err != nil {
		return 0, fmt.Errorf("%s: %w", name, os.NewSyscallError("stat", err))
	}
	return uint32(s.Ino), nil
}
