package lab

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A link that cannot read or write packets any more says so, by the name of its end; one that is
// closed does not.
func TestBrokenLink(t *testing.T) {
	for name, broken := range map[string]func(*netlink.Handle, netlink.Link) error{
		"deleted": (*netlink.Handle).LinkDel, "down": (*netlink.Handle).LinkSetDown,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, Link{Changes: true})
			between, err := l.between.handle()
			if err != nil {
				t.Fatal(err)
			}
			defer between.Close()
			device, err := between.LinkByName(serverDevice)
			if err == nil {
				err = broken(between, device)
			}
			if err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-l.Broken():
				if !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), serverDevice) {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Error("nobody is told")
			}
		})
	}
	l := newLab(t, Link{Changes: true})
	broken := l.Broken()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-broken:
		t.Errorf("a link that was closed: %v", err)
	default:
	}
}
