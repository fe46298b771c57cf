package main

import (
	"strings"
	"syscall"
)

// remedies say what to do about an error of the system.
var remedies = map[syscall.Errno]string{
	syscall.EMFILE:        "raise the limit of open files (ulimit -n)",
	syscall.ENFILE:        "the whole machine has too many files open: raise fs.file-max, or end what holds them",
	syscall.ENOSPC:        "make room there, or name a place that has some",
	syscall.EDQUOT:        "make room within the quota, or name another place",
	syscall.EFBIG:         "raise the limit of file sizes (ulimit -f)",
	syscall.ENOMEM:        "free memory, or raise the limit of this process or its control group",
	syscall.EAGAIN:        "raise the limit of processes (ulimit -u, pids.max of the control group)",
	syscall.EACCES:        "run as a user who may, or change the permissions",
	syscall.EPERM:         "run as root; in a container it takes the capabilities, too",
	syscall.EROFS:         "name another place, or mount it for writing",
	syscall.EISDIR:        "name a file",
	syscall.ENOTDIR:       "name a file in a directory",
	syscall.ENOENT:        "look at the name; is it there, and /proc mounted?",
	syscall.ENOSYS:        "this kernel, or a filter of system calls (seccomp), does not have it",
	syscall.EADDRINUSE:    "stop what uses it (ss -tanp shows that), or choose another",
	syscall.EADDRNOTAVAIL: "name an address of this host (ip addr lists them)",
	syscall.ENETUNREACH:   "add a route (ip route get ADDRESS shows what there is)",
	syscall.EIO:           "look for errors of the device (dmesg)",
}

// advised is an error's text with a remedy after each line that ends with the system's words. It
// compares words because an error of a child process has lost its number.
func advised(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		for errno, remedy := range remedies {
			if strings.HasSuffix(line, errno.Error()) {
				lines[i] += ": " + remedy
			}
		}
	}
	return strings.Join(lines, "\n")
}
