// Package probe finds out what this machine allows, by doing it in a child process of the same
// binary, and explains a refusal.
//
// It takes a child because the attempt may hang, may be killed by a seccomp filter, or may change
// the process that makes it; and because only a new process can enter a user namespace. A child has
// one question, is killed after Patience, and leaves nothing behind.
package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// argument makes this binary a probe, before the name of its question; see Invoked.
const argument = "internal-probe"

// Patience is how long an answer may take. It takes milliseconds, on a busy machine a second.
const Patience = 10 * time.Second

// Question tries something; about says what exactly. It calls step with the name of each step
// before it takes it. An error is of the last step, unless it is a *Failure, which names its own.
type Question func(about string, step func(name string)) error

// Failure is why something cannot be done here.
type Failure struct {
	// Step is what failed. It is empty if the child could not be started.
	Step string `json:"step"`
	// Errno is the kernel's answer, 0 if it gave none.
	Errno syscall.Errno `json:"errno,omitempty"`
	// Text is what the error says.
	Text string `json:"text"`
	// Hung means that there was no answer within Patience.
	Hung bool `json:"hung,omitempty"`
	// Signal is what killed the child: SIGSYS comes from a seccomp filter.
	Signal syscall.Signal `json:"signal,omitempty"`

	err error // what failed, if that was in this process
}

func (f *Failure) Error() string {
	if f.Step == "" {
		return f.Text
	}
	return f.Step + ": " + f.Text
}

// Unwrap lets errors.Is find the kernel's answer.
func (f *Failure) Unwrap() error {
	if f.err == nil && f.Errno != 0 {
		return f.Errno
	}
	return f.err
}

// failed makes a failure of any error.
func failed(step string, err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	f = &Failure{Step: step, Text: err.Error(), err: err}
	_ = errors.As(err, &f.Errno) // 0 if there is none
	return f
}

// message is from a child: a step that it begins, or at the end the result.
type message struct {
	Step   string   `json:"step,omitempty"`
	Done   bool     `json:"done,omitempty"`
	Failed *Failure `json:"failed,omitempty"`
}

// Invoked tells whether Ask started this process. If so, the program calls Main before anything
// else.
func Invoked() bool { return len(os.Args) == 2 && strings.HasPrefix(os.Args[1], argument+" ") }

// inherited is the descriptor of a child's pipe: the first after stderr.
const inherited = 3

// Main runs a child: it answers its question and returns the exit code.
func Main(questions map[string]Question) int {
	say := json.NewEncoder(os.NewFile(inherited, "answers"))
	name, about, _ := strings.Cut(strings.TrimPrefix(os.Args[1], argument+" "), " ")
	ask, ok := questions[name]
	if !ok {
		_ = say.Encode(message{Done: true, Failed: &Failure{Text: fmt.Sprintf("no question %q", name)}})
		return 1
	}
	last := ""
	err := ask(about, func(step string) {
		last = step
		_ = say.Encode(message{Step: step})
	})
	m := message{Done: true}
	if err != nil {
		m.Failed = failed(last, err)
	}
	if say.Encode(m) != nil {
		return 1
	}
	return 0
}

// Ask asks a question in a child with these attributes; nil means none. The question may go on with
// a space and what it is about. nil means that it can be done.
func Ask(question string, attr *syscall.SysProcAttr) *Failure {
	return ask(question, attr, Patience)
}

func ask(question string, attr *syscall.SysProcAttr, patience time.Duration) *Failure {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd := exec.Command("/proc/self/exe", argument+" "+question)
	cmd.Args[0] = os.Args[0]
	cmd.SysProcAttr = attr
	said, theirs, err := os.Pipe()
	if err != nil {
		return failed("", err)
	}
	defer said.Close()
	complaint := &bytes.Buffer{}
	cmd.ExtraFiles, cmd.Stderr, cmd.WaitDelay = []*os.File{theirs}, complaint, time.Second
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		// The parent-death signal is for the thread that starts the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ProcessState tells
		}
		close(ended)
	}()
	err = <-started
	theirs.Close()
	if err != nil {
		return failed("", err)
	}
	if err := said.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return failed("", err)
	}
	last, answer := listen(said)
	if errors.Is(answer, os.ErrDeadlineExceeded) {
		_ = cmd.Process.Kill()
		// Ask does not wait for it: a process that hangs in the kernel does not die.
		return &Failure{Step: last, Hung: true, Text: fmt.Sprintf("no answer within %v", patience)}
	}
	<-ended
	switch status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case answer == nil:
		return nil
	case !errors.Is(answer, io.EOF):
		return failed(last, answer)
	case status.Signaled():
		return &Failure{Step: last, Signal: status.Signal(), Text: fmt.Sprintf("the process that tried it was killed: %v", status.Signal())}
	}
	return &Failure{Step: last, Text: strings.TrimSpace(fmt.Sprintf("the process that tried it ended without an answer: %v: %.200s", cmd.ProcessState, complaint))}
}

// listen reads the messages of a child. It returns the last step, and the result: nil if it
// succeeded, io.EOF if the child ended without one.
func listen(from io.Reader) (last string, err error) {
	for d := json.NewDecoder(from); ; {
		var m message
		switch err := d.Decode(&m); {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return last, io.EOF
		case err != nil:
			return last, err
		case m.Done && m.Failed != nil:
			return last, m.Failed
		case m.Done:
			return last, nil
		}
		last = m.Step
	}
}
