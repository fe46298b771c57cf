package lab

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"tcpbench/internal/machine"
	"tcpbench/internal/pcap"
)

// strays lists the threads of this process that are in another network namespace.
func strays(t *testing.T, home string) (all []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(names) == 0 {
		t.Fatal(err, names)
	}
	for _, name := range names {
		at, err := os.Readlink(name)
		if err == nil && at != home { // a thread that has ended has no namespace
			all = append(all, name+" "+at)
		}
	}
	return all
}

// No thread stays in the namespace of a lab that is closed, and no goroutine runs in one,
// whatever the lab was used for.
func TestThreadsComeBack(t *testing.T) {
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		for _, link := range []Link{{}, {Gated: true}, {ToServer: parsed(t, "loss=1%,delay=1ms")}} {
			l := newLab(t, link)
			end, err := l.Record(pcap.NewCapture(&lost{}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := machine.Apply(l.Client, &machine.Profile{Settings: []machine.Setting{{Key: "net.ipv4.tcp_tw_reuse", Value: "1"}}}); err != nil {
				t.Fatal(err)
			}
			listener := listenIn(t, l.Server, "198.18.255.1:9000")
			if err := errors.Join(dialFrom(l.Client, "", "198.18.255.1:9000"), end(), listener.Close(), l.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// As many goroutines as make the runtime use all threads that it has.
	var all sync.WaitGroup
	for range 4 * runtime.NumCPU() {
		all.Go(func() {
			for range 100 {
				at, err := os.Readlink("/proc/thread-self/ns/net")
				if err != nil || at != home {
					t.Errorf("an ordinary goroutine runs in %s, not %s: %v", at, home, err)
					return
				}
				runtime.Gosched()
			}
		})
	}
	all.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // threads end by themselves
		left := strays(t, home)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("threads in namespaces of labs that are gone: %q", left)
		}
	}
}

type lost struct{}

func (*lost) Write(b []byte) (int, error) { return len(b), nil }
