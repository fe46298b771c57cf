package lab

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// links are those whose speed differs: by the kernel alone, and by the forwarder.
var links = map[string]Link{"veth": {}, "carried": {Changes: true}, "gated": {Gated: true}}

// BenchmarkConnections makes connections one after the other and aborts each.
func BenchmarkConnections(b *testing.B) {
	for name, link := range links {
		b.Run(name, func(b *testing.B) {
			l := newLab(b, link)
			serve(b, l, func(int) {})
			target := sockaddr("198.18.255.1:9000")
			err := l.Client.Do(func() error {
				for b.Loop() {
					fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
					if err != nil {
						return err
					}
					if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
						return err
					}
					if err := errors.Join(unix.Connect(fd, target), unix.Close(fd)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conn/s")
		})
	}
}

// BenchmarkRoundTrip sends a byte and waits for it to come back.
func BenchmarkRoundTrip(b *testing.B) {
	for name, link := range links {
		b.Run(name, func(b *testing.B) {
			l := newLab(b, link)
			serve(b, l, func(fd int) {
				one := make([]byte, 1)
				for {
					if n, err := unix.Read(fd, one); n < 1 || err != nil {
						return
					}
					if _, err := unix.Write(fd, one); err != nil {
						return
					}
				}
			})
			err := l.Client.Do(func() error {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				if err := errors.Join(unix.Connect(fd, sockaddr("198.18.255.1:9000")), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)); err != nil {
					return err
				}
				one := []byte{1}
				for b.Loop() {
					if _, err := unix.Write(fd, one); err != nil {
						return err
					}
					if _, err := unix.Read(fd, one); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// serve accepts connections on the server, one at a time, until the benchmark ends.
func serve(b *testing.B, l *Lab, each func(fd int)) {
	b.Helper()
	var listener int
	if err := l.Server.Do(func() (err error) {
		listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return errors.Join(err, unix.Bind(listener, sockaddr("198.18.255.1:9000")), unix.Listen(listener, 4096))
	}); err != nil {
		b.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			each(fd)
			_ = unix.Close(fd)
		}
	}()
	b.Cleanup(func() {
		_ = unix.Shutdown(listener, unix.SHUT_RDWR) // ends accept
		select {
		case <-over:
		case <-time.After(5 * time.Second):
			b.Error("the server does not end")
		}
		_ = unix.Close(listener)
	})
}
