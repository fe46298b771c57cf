package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/namespace"
)

// argument makes this binary an agent, before its name; see Invoked.
const argument = "internal-agent"

// exitPatience is how long Close waits for an agent before it kills it.
const exitPatience = 2 * time.Second

// Processes is a Place on this host: each agent is a process of this binary. Enter, unless
// nil, takes the thread from which a process starts to its network namespace.
type Processes struct{ Enter func() error }

// Process is an agent with a process of its own, as its coordinator sees it.
type Process struct {
	*pipe
	name   string
	cmd    *exec.Cmd
	stderr head
	exited chan struct{} // closed when the process has been reaped
	status error
}

// Start starts a process. The kernel kills it when this process ends (PR_SET_PDEATHSIG), and it
// ends by itself when its socket does. It has a process group of its own, so that a Ctrl-C at
// the terminal reaches the coordinator alone.
func (place Processes) Start(name string) (Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, os.NewSyscallError("socketpair", err))
	}
	// Ours is nonblocking, so that Close ends a Receive under way. Theirs has flags of its own.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), unix.Close(fds[0]), unix.Close(fds[1]))
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "coordinator")
	defer theirs.Close()
	p := &Process{pipe: newPipe(ours), name: name, exited: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe", argument+" "+name) // the name is for readers of ps
	p.cmd.Args[0] = os.Args[0]
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	// The kernel sends the signal when the thread that forked ends, so that thread lives for as
	// long as the agent.
	namespace.Go(func() {
		var err error
		if place.Enter != nil {
			err = place.Enter()
		}
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			p.status = p.cmd.Wait()
		}
		close(p.exited)
	})
	if err := <-started; err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func (p *Process) String() string { return fmt.Sprintf("%s (process %d)", p.name, p.PID()) }

// Signal sends a signal to the process, if it still exists.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %v: %w", s, p, err)
	}
	return nil
}

// Receive returns the next message. The end of the process is an error that says how it ended.
func (p *Process) Receive() (Message, error) {
	m, err := p.pipe.Receive()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		err = p.death()
	case err != nil:
		err = fmt.Errorf("%s: %w", p.name, err)
	}
	return m, err
}

// death says how a process ended that nobody asked to.
func (p *Process) death() error {
	select {
	case <-p.exited:
	case <-time.After(exitPatience):
		return fmt.Errorf("%v closed its socket", p)
	}
	how := "ended"
	if p.status != nil {
		how = "ended: " + p.status.Error()
	}
	if last := p.stderr.String(); last != "" {
		how += ": " + last
	}
	return fmt.Errorf("%v %s", p, how)
}

// Close closes the socket, at which the process ends by itself, and kills one that does not.
func (p *Process) Close() {
	p.pipe.Close()
	for _, last := range []bool{false, true} {
		select {
		case <-p.exited:
			return
		case <-time.After(exitPatience):
		}
		if !last { // after that only the kernel keeps it
			_ = p.cmd.Process.Kill()
		}
	}
}

// head keeps the beginning of what a process wrote to stderr: of a panic, the part that says most.
type head struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const headSize = 4 << 10

func (t *head) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := headSize - t.b.Len(); room > 0 {
		t.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *head) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.b.String())
}
