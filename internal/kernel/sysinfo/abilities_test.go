package sysinfo

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
)

// Each answer is the kernel's own: where a setting decides, it follows the setting.
func TestFastOpenFollowsItsSetting(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.tcp_fastopen=3") {
		return
	}
	if err := FastOpen(); err != nil {
		t.Errorf("client and server allow it: %v", err)
	}
	alone.Sysctl(t, "net.ipv4.tcp_fastopen=1")
	if err := FastOpen(); !errors.Is(err, ErrSYNData) {
		t.Errorf("the server does not allow it: %v", err)
	}
	alone.Sysctl(t, "net.ipv4.tcp_fastopen=2")
	if err := FastOpen(); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("the client does not allow it: %v", err)
	}
}

func TestIPv6FollowsItsSetting(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		if err := IPv6(); err == nil {
			t.Error("a kernel without IPv6 has [::1]")
		}
		return
	}
	if !alone.Namespace(t, "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.lo.disable_ipv6=0") {
		return
	}
	if err := IPv6(); err != nil {
		t.Error(err)
	}
	alone.Sysctl(t, "net.ipv6.conf.all.disable_ipv6=1")
	if err := IPv6(); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("IPv6 is off: %v", err)
	}
}

func TestMPTCPFollowsItsSetting(t *testing.T) {
	const setting = "/proc/sys/net/mptcp/enabled"
	if _, err := os.Stat(setting); err != nil {
		if err := MPTCP(); err == nil {
			t.Errorf("there is no %s, and a socket of MPTCP", setting)
		}
		return
	}
	if !alone.Namespace(t, "net.mptcp.enabled=1") {
		return
	}
	if err := MPTCP(); err != nil {
		t.Error(err)
	}
	alone.Sysctl(t, "net.mptcp.enabled=0")
	if err := MPTCP(); !errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("MPTCP is off: %v", err)
	}
}

func TestIOUringFollowsItsSetting(t *testing.T) {
	disabled, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled")
	switch got := IOUring(); {
	case err != nil:
		t.Logf("this kernel has no kernel.io_uring_disabled: %v", got)
	case strings.TrimSpace(string(disabled)) == "0" && got != nil && !errors.Is(got, unix.EPERM): // a seccomp filter may refuse
		t.Errorf("it is enabled: %v", got)
	case strings.TrimSpace(string(disabled)) == "2" && !errors.Is(got, unix.EPERM):
		t.Errorf("it is disabled: %v", got)
	}
}
