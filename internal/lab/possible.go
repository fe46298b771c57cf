package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Possible tells, by nil, that this process can make network namespaces, as it is or as Own
// would run it. An error says what forbids them. Whether all of a lab can be made shows only
// when it is made.
func Possible() error {
	f, err := newNamespace()
	if err == nil {
		return f.Close()
	}
	if Owned() || !errors.Is(err, unix.EPERM) {
		return explain(err)
	}
	cmd := exec.Command("/proc/self/exe", "--version")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		if failed := new(os.PathError); errors.As(err, &failed) {
			err = fmt.Errorf("make a user namespace: %w", os.NewSyscallError("clone", failed.Err))
		}
		return explain(err)
	}
	_ = cmd.Process.Kill() // that it began is all that is asked
	_ = cmd.Wait()
	return nil
}
