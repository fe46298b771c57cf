package alone

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// owned is how the program marks a process that is root of users of its own only (lab.Owned).
const owned = "TCPBENCH_OWN_USERS"

// needed are the capabilities without which there are no network namespaces with links and
// packet sockets in them.
var needed = []int{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}

// Users runs the tests as root of a user namespace if this process may not make network
// namespaces, as the program does: TestMain calls it first. If done, they have been run, with
// that exit code. If the kernel refuses a user namespace it says so on complaints, and the
// caller goes on: tests that need a namespace are skipped one by one.
func Users(in io.Reader, out, complaints io.Writer) (code int, done bool) {
	if os.Getenv(owned) != "" || capable() {
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, complaints
	cmd.Env = append(os.Environ(), owned+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The parent-death signal is for the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return max(1, exit.ExitCode()), true // -1 is a signal
	}
	fmt.Fprintln(complaints, "tests run without a user namespace:", err)
	return 0, false
}

// capable tells whether this process has the capabilities that are needed.
func capable() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range needed {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}
