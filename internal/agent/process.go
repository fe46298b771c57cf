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

	"tcpbench/internal/lab"
)

// argument is what makes this binary a child, before its name; see Invoked.
const argument = "internal-child"

// exitPatience is how long Close waits for a child that was told to stop.
const exitPatience = 2 * time.Second

// Process is a child as its coordinator sees it.
type Process struct {
	*Conn
	name   string
	socket *os.File
	cmd    *exec.Cmd
	stderr head
	exited chan struct{} // closed when the process has been reaped
	status error
}

// Spawn starts a child. It dies with this process, however that dies: the kernel kills
// it (PR_SET_PDEATHSIG), and it ends by itself when its socket does. It has a process
// group of its own, so that a Ctrl-C at the terminal reaches the coordinator alone. Where
// enter is not nil it is called first, to take the thread from which the child begins to
// where it is to live.
func Spawn(name string, enter func() error) (*Process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, os.NewSyscallError("socketpair", err))
	}
	// Ours is nonblocking, so that Close ends a Receive under way. Theirs is another open
	// file, with flags of its own.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), unix.Close(fds[0]), unix.Close(fds[1]))
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "child"), os.NewFile(uintptr(fds[1]), "coordinator")
	defer theirs.Close()
	p := &Process{Conn: NewConn(ours), name: name, socket: ours, exited: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe", argument+" "+name) // the name is for who looks at ps
	p.cmd.Args[0] = os.Args[0]
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	// The signal is sent when the thread that forked ends, not when the process does: so that
	// thread lives for as long as the child.
	lab.Go(func() {
		var err error
		if enter != nil {
			err = enter()
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

// PID is the process id of the child.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func (p *Process) String() string { return fmt.Sprintf("%s (process %d)", p.name, p.PID()) }

// Freeze stops the child: it does nothing until Thaw, while the kernel goes on to answer for
// its sockets.
func (p *Process) Freeze() error {
	return p.signal(syscall.SIGSTOP)
}

// Thaw lets a child go on that Freeze has stopped.
func (p *Process) Thaw() error {
	return p.signal(syscall.SIGCONT)
}

// signal sends a signal to the child, if there still is one.
func (p *Process) signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("send %v to %s (process %d): %w", s, p.name, p.PID(), err)
}

// Receive reads the next message. A child that failed or died is an error that says how.
func (p *Process) Receive() (Message, error) {
	m, err := p.Conn.Receive()
	switch {
	case err == nil && m.Type == Failed:
		return m, fmt.Errorf("%s: %s", p.name, m.Error)
	case err == nil:
		return m, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return m, p.death()
	}
	return m, fmt.Errorf("%s: %w", p.name, err)
}

// Expect reads the next message, which must be of that type.
func (p *Process) Expect(t Type) (Message, error) {
	m, err := p.Receive()
	if err == nil && m.Type != t {
		err = fmt.Errorf("%s: said %q, expected %q", p.name, m.Type, t)
	}
	return m, err
}

// Ask sends a message and reads the answer, which must be of that type.
func (p *Process) Ask(m Message, answer Type) (Message, error) {
	if err := p.Send(m); err != nil {
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			return Message{}, p.death()
		}
		return Message{}, fmt.Errorf("%s: %w", p.name, err)
	}
	return p.Expect(answer)
}

// StartPatience bounds everything that a child does before it is ready.
const StartPatience = 10 * time.Second

// AskWithin is Ask with an end: it closes a child that does not answer in time, and says so.
func (p *Process) AskWithin(patience time.Duration, m Message, answer Type) (Message, error) {
	timer := time.AfterFunc(patience, p.Close)
	got, err := p.Ask(m, answer)
	if !timer.Stop() && err != nil {
		err = fmt.Errorf("%v gave no answer within %v, so it was ended", p, patience)
	}
	return got, err
}

// death tells how a child ended that was not told to.
func (p *Process) death() error {
	select {
	case <-p.exited:
	case <-time.After(exitPatience):
		return fmt.Errorf("%s closed its socket", p.name)
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

// Close ends the child: it closes the socket, at which a child ends by itself, and kills
// one that does not.
func (p *Process) Close() {
	p.socket.Close()
	select {
	case <-p.exited:
	case <-time.After(exitPatience):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// head keeps the beginning of what a child wrote to stderr: of a panic, the part that
// says most.
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
