package probe

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// questions are answers that a program must be able to live with.
var questions = map[string]Question{
	"yes": func(_ string, step func(string)) error { step("breathe"); return nil },
	"no": func(_ string, step func(string)) error {
		step("breathe")
		return os.NewSyscallError("fly", syscall.EPERM)
	},
	"own": func(_ string, step func(string)) error {
		step("breathe")
		return &Failure{Step: "swim", Text: "no water"}
	},
	"hangs": func(_ string, step func(string)) error {
		step("breathe")
		step("wait")
		time.Sleep(time.Hour)
		return nil
	},
	"killed": func(_ string, step func(string)) error { step("jump"); return suicide() },
	"panics": func(_ string, step func(string)) error { step("think"); panic("at the disco") },
	"of":     func(about string, step func(string)) error { step(about); return errors.New("no") },
	"leaves": func(_ string, step func(string)) error { step("go"); os.Exit(3); return nil },
	"talks":  func(_ string, step func(string)) error { step("sing"); fmt.Println("la la la"); return nil },
}

// suicide is what a seccomp filter does to a process; Go catches SIGSYS where it is only sent.
func suicide() error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	return nil
}

func TestMain(m *testing.M) {
	if Invoked() {
		os.Exit(Main(questions))
	}
	os.Exit(m.Run())
}

func TestAsk(t *testing.T) {
	for question, want := range map[string]Failure{
		"no":      {Step: "breathe", Errno: syscall.EPERM, Text: "fly: operation not permitted"},
		"own":     {Step: "swim", Text: "no water"},
		"killed":  {Step: "jump", Signal: syscall.SIGKILL, Text: "the process that tried it was killed: killed"},
		"panics":  {Step: "think", Text: "the process that tried it ended without an answer: exit status 2: panic: at the disco"},
		"leaves":  {Step: "go", Text: "the process that tried it ended without an answer: exit status 3:"},
		"of a b":  {Step: "a b", Text: "no"},
		"unknown": {Text: `no question "unknown"`},
	} {
		got := Ask(question, nil)
		if got == nil {
			t.Errorf("%s: can be done", question)
			continue
		}
		if len(got.Text) > len(want.Text) { // the trace of a panic goes on
			got.Text = got.Text[:len(want.Text)]
		}
		if *got != want {
			t.Errorf("%s: %+v, want %+v", question, *got, want)
		}
	}
	for _, question := range []string{"yes", "talks"} {
		if got := Ask(question, nil); got != nil {
			t.Errorf("%s: %v", question, got)
		}
	}
}

// A probe that hangs is killed, and the step that hung is named.
func TestAProbeIsBounded(t *testing.T) {
	got := ask("hangs", nil, 300*time.Millisecond)
	if got == nil || !got.Hung || got.Step != "wait" || got.Error() != "wait: no answer within 300ms" {
		t.Errorf("%+v", got)
	}
}

func TestFailureIsItsErrno(t *testing.T) {
	if err := error(Ask("no", nil)); !errors.Is(err, syscall.EPERM) || err.Error() != "breathe: fly: operation not permitted" {
		t.Errorf("%v", err)
	}
	if err := error(Ask("own", nil)); errors.Is(err, syscall.EPERM) {
		t.Errorf("%v", err)
	}
}

// A process that cannot be started is a failure before the first step.
func TestAProbeThatCannotStart(t *testing.T) {
	// A map of users that are not there: the kernel refuses it to everybody.
	got := Ask("yes", &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1 << 31, Size: -1}},
	})
	if got == nil || got.Step != "" || got.Errno == 0 {
		t.Errorf("%+v", got)
	}
}
