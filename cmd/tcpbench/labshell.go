package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/internal/agent"
	"tcpbench/internal/lab"
	"tcpbench/internal/namespace"
	"tcpbench/internal/values"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

// shellPort is where the server of a lab's shell listens.
const shellPort = 9000

func newLabShell() *cobra.Command {
	l := &labOptions{}
	c := &cobra.Command{
		Use:   "shell client|server [-- COMMAND…]",
		Short: "Open a shell on one of a lab's hosts, with a server running",
		Long: `Make a lab, start a tcpbench server on its server, and open your shell ($SHELL), or run a
command, on one of its hosts: for tcpdump, ss, nstat, sysctl, or tcpbench itself. The lab
is gone when the shell ends, whose exit code is this command's.`,
		Example: `  tcpbench lab shell client
  tcpbench lab shell server --profile syn-flood
  tcpbench lab shell client -- tcpbench run short --target 198.18.255.1:9000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] != "client" && args[0] != "server" {
				return usage("lab shell: on which host? client or server")
			}
			return nil
		},
		ValidArgs: []string{"client", "server"},
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err, done := inOwnUsers(c, nil, l.requires(nil)); done {
				return err
			}
			// From here on this machine may be changed. Ctrl-C is for what runs in the shell; an
			// ignored signal would stay ignored there.
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
			defer signal.Stop(signals)
			made, err := l.lab(c)
			if err != nil {
				return err
			}
			v, err := made.Open()
			if err != nil {
				return failure(err)
			}
			defer func() { err = errors.Join(err, v.Close()) }()
			host := v.Client
			if args[0] == "server" {
				host = v.Server
			}
			return openShell(c, v, host, args[1:], signals)
		},
	}
	l.register(c)
	return c
}

// openShell runs a command, or the shell, on a host of the lab.
func openShell(c *cobra.Command, v *stage.Venue, host *lab.Host, command []string, signals <-chan os.Signal) error {
	address := netip.AddrPortFrom(v.Server.V4, shellPort)
	addresses := []netip.AddrPort{address}
	if v.Server.V6.IsValid() {
		addresses = append(addresses, netip.AddrPortFrom(v.Server.V6, shellPort))
	}
	p, _, err := stage.StartServer(agent.Processes{Enter: v.Server.Enter}, &server.Config{
		Addrs: addresses, Loops: runtime.NumCPU(),
		MaxRequest: values.MaxMessage, MaxResponse: values.MaxMessage,
	})
	if err != nil {
		return exit{exitFailed, err}
	}
	defer p.Close()
	if len(command) == 0 {
		command = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh")}
		fmt.Fprintf(c.ErrOrStderr(), "on the lab's %s; a tcpbench server listens on %s. Leave the shell to end the lab.\n", host.Name, address)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, c.OutOrStdout(), c.ErrOrStderr()
	cmd.Env = append(os.Environ(), "TCPBENCH_LAB="+host.Name, "TCPBENCH_SERVER="+address.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGHUP}
	started, done := make(chan struct{}), make(chan error, 1)
	namespace.Go(func() {
		err := host.Enter()
		if err == nil {
			err = cmd.Start()
		}
		close(started)
		if err == nil {
			err = cmd.Wait()
		}
		done <- err
	})
	<-started
	caught, err := awaitShell(cmd, signals, v.Broken(), done)
	if caught != nil {
		return exit{signalled{caught}.code(), nil}
	}
	var ended *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return exit{max(1, ended.ExitCode()), nil}
	}
	return exit{exitFailed, fmt.Errorf("lab shell: %w", err)}
}

// shellPatience is how long a shell has to end after a signal, before it is killed.
const shellPatience = 2 * time.Second

// awaitShell waits for the end of the shell. SIGTERM and SIGHUP end it: it gets SIGHUP, which
// interactive shells obey, and SIGKILL if that does not help. Then caught is the signal.
func awaitShell(cmd *exec.Cmd, signals <-chan os.Signal, broken, done <-chan error) (caught os.Signal, err error) {
	var kill <-chan time.Time
	var failed error
	for {
		select {
		case err := <-done:
			return caught, cmp.Or(failed, err)
		case err := <-broken:
			failed = fmt.Errorf("the lab's link has failed: %w", err)
			if cmd.Process == nil {
				continue
			}
			_ = cmd.Process.Signal(syscall.SIGHUP)
			kill = time.After(shellPatience)
		case s := <-signals:
			if caught != nil || cmd.Process == nil || s != syscall.SIGTERM && s != syscall.SIGHUP {
				continue
			}
			caught = s
			_ = cmd.Process.Signal(syscall.SIGHUP) // it may have ended just now
			kill = time.After(shellPatience)
		case <-kill:
			_ = cmd.Process.Kill()
		}
	}
}
