package machine

import (
	"os"
	"testing"

	"tcpbench/internal/alone"
)

func TestNearKey(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv4/tcp_tw_reuse"); err != nil {
		alone.Needed(t, err.Error())
	}
	for key, want := range map[string]string{
		"net.ipv4.tcp_tw_resue":  "net.ipv4.tcp_tw_reuse",
		"net.ipv.tcp_tw_reuse":   "net.ipv4.tcp_tw_reuse",
		"net.ipv4.tcp_tw_reuse":  "",
		"net.ipv4.tcp_of_old":    "", // a kernel may not have it
		"vm.swapines":            "", // no lab has its own
		"net.ipv4.conf.lo/1.foo": "",
	} {
		if got := NearKey(key); got != want {
			t.Errorf("NearKey(%q) = %q, want %q", key, got, want)
		}
	}
}
