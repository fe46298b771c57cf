package epoll

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPollerReportsTokens(t *testing.T) {
	p, err := NewPoller(8)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	want := Token{Slot: 7, Generation: 1<<32 - 1}
	if errno := p.Add(fds[0], In|RDHup, want); errno != 0 {
		t.Fatal(errno)
	}
	if n, err := p.Wait(0); n != 0 || err != nil {
		t.Fatalf("an idle poller reports %d events, %v", n, err)
	}
	unix.Close(fds[1])
	n, err := p.Wait(time.Second)
	if n != 1 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	e, ok := p.Event(0)
	if !ok || e.Token != want || e.Mask&RDHup == 0 {
		t.Errorf("event %+v, %v", e, ok)
	}
}

func TestWakeEndsAWait(t *testing.T) {
	p, err := NewPoller(8)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go p.Wake()
	n, err := p.Wait(time.Minute)
	if n != 1 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	if _, ok := p.Event(0); ok {
		t.Error("a wake-up was reported as an event")
	}
	if n, _ := p.Wait(0); n != 0 {
		t.Error("the wake-up was not consumed")
	}
}
