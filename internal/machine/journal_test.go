package machine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// machine is one of files, with these settings.
func machine(t *testing.T, dir string, settings map[string]string) *Machine {
	t.Helper()
	m := &Machine{Journal: filepath.Join(dir, "var", "journal.json"), root: filepath.Join(dir, "sys"), boot: func() string { return "first" }, put: replace}
	for key, value := range settings {
		name := m.file(key)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// replace writes a file whole or not at all, whenever the process is killed. One that does not
// exist is an error, as in /proc/sys.
func replace(file, value string) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	next := file + ".next"
	if err := os.WriteFile(next, []byte(value+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(next, file)
}

func (m *Machine) values(t *testing.T, keys map[string]string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for key := range keys {
		v, err := m.read(key)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = v
	}
	return all
}

var (
	were   = map[string]string{"vm.swappiness": "60", "net.ipv4.tcp_mem": "1\t2\t3", "fs.file-max": "1000"}
	wanted = []Setting{{Key: "vm.swappiness", Value: "10"}, {Key: "net.ipv4.tcp_mem", Value: "4 5 6"}, {Key: "fs.file-max", Value: "2000"}}
)

func TestChangeAndRestore(t *testing.T) {
	m := machine(t, t.TempDir(), were)
	reports, err := m.Change(wanted)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range reports {
		if r.Outcome != Applied || r.Now != wanted[i].Value {
			t.Errorf("%+v", r)
		}
	}
	// A second run refuses while the journal lies there, and changes nothing.
	if _, err := m.Change([]Setting{{Key: "vm.swappiness", Value: "7"}}); !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second change: %v", err)
	}
	if got, _ := m.read("vm.swappiness"); got != "10" {
		t.Errorf("vm.swappiness = %s", got)
	}
	restored, err := m.Restore()
	if err != nil || len(restored) != 3 {
		t.Fatal(restored, err)
	}
	if got := m.values(t, were); !maps.Equal(got, were) {
		t.Errorf("%v, want %v", got, were)
	}
	// There is nothing left to do, and nothing lies there.
	if restored, err := m.Restore(); restored != nil || err != nil {
		t.Error(restored, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(m.Journal), "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(m.Journal), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRestoreAfterAnotherStart(t *testing.T) {
	m := machine(t, t.TempDir(), were)
	if _, err := m.Change(wanted); err != nil {
		t.Fatal(err)
	}
	m.boot = func() string { return "second" }
	if err := m.refusal(); !strings.Contains(err.Error(), "tcpbench restore") {
		t.Error(err)
	}
	// What a start of the machine has set is not touched.
	if restored, err := m.Restore(); err != nil || restored != nil {
		t.Error(restored, err)
	}
	if got, _ := m.read("vm.swappiness"); got != "10" {
		t.Errorf("vm.swappiness = %s", got)
	}
}

func TestDamagedJournals(t *testing.T) {
	for text, want := range map[string]string{
		"":               "damaged",
		"{":              "damaged",
		`{"version": 2}`: "version 2",
		`{"version": 1, "settings": [{"key": "../../etc/passwd", "before": "x"}]}`: "no setting",
		`{"version": 1, "settings": [{"key": "", "before": "x"}]}`:                 "no setting",
	} {
		m := machine(t, t.TempDir(), were)
		os.MkdirAll(filepath.Dir(m.Journal), 0o755)
		if err := os.WriteFile(m.Journal, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Restore(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if _, err := m.Change(wanted); !errors.Is(err, ErrJournal) {
			t.Errorf("%q: a change: %v", text, err)
		}
		if _, err := os.Stat(m.Journal); err != nil {
			t.Errorf("%q: the journal is gone", text)
		}
	}
}

// What cannot be put back keeps the journal.
func TestRestoreFails(t *testing.T) {
	m := machine(t, t.TempDir(), were)
	if _, err := m.Change(wanted); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.file("fs.file-max")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Restore(); err == nil || !strings.Contains(err.Error(), "fs.file-max = 1000") {
		t.Error(err)
	}
	if got, _ := m.read("vm.swappiness"); got != "60" {
		t.Errorf("the others were not put back: %s", got)
	}
	if _, err := os.Stat(m.Journal); err != nil {
		t.Error("the journal is gone")
	}
}

// set writes a setting as somebody else would.
func (m *Machine) set(t *testing.T, key, value string) {
	t.Helper()
	if err := os.WriteFile(m.file(key), []byte(value+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A value that somebody else has set since is theirs: it stays, and Restore says so.
func TestRestoreKeepsWhatOthersHaveSet(t *testing.T) {
	m := machine(t, t.TempDir(), were)
	var left []Restored
	m.Kept = func(r Restored) { left = append(left, r) }
	if _, err := m.Change(wanted); err != nil {
		t.Fatal(err)
	}
	m.set(t, "vm.swappiness", "33")
	m.set(t, "fs.file-max", "1000") // as it was: nothing to do and nothing to say
	restored, err := m.Restore()
	if err != nil || len(restored) != 1 || restored[0].Key != "net.ipv4.tcp_mem" {
		t.Errorf("put back %+v, %v", restored, err)
	}
	if want := (Restored{"vm.swappiness", "33", "60", "10"}); len(left) != 1 || left[0] != want {
		t.Errorf("left %+v, want %+v", left, want)
	}
	want := maps.Clone(were)
	want["vm.swappiness"] = "33"
	if got := m.values(t, were); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A run that was killed between writing a setting and noting what the kernel made of it leaves a
// journal that cannot tell whose the value is. The value before the run is the safe one.
func TestRestoreAfterHalfAChange(t *testing.T) {
	m := machine(t, t.TempDir(), were)
	m.Kept = func(r Restored) { t.Errorf("left %+v", r) }
	half := &journal{Version: journalVersion, Boot: "first", Settings: []entry{{Key: "vm.swappiness", Before: "60", Wanted: "0x0a"}}}
	if err := m.write(half, os.Link); err != nil {
		t.Fatal(err)
	}
	m.set(t, "vm.swappiness", "10") // what the kernel made of 0x0a
	if _, err := m.Restore(); err != nil {
		t.Fatal(err)
	}
	if got := m.values(t, were); !maps.Equal(got, were) {
		t.Errorf("%v, want %v", got, were)
	}
}

// The id of a process that was killed may be another's by now: its time of birth tells.
func TestReusedProcessID(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait() // killed
	}()
	now := born(other.Process.Pid)
	if now == 0 {
		t.Fatal("a process that runs has no time of birth")
	}
	for _, tt := range []struct {
		born uint64
		runs bool
	}{{now, true}, {now + 1, false}, {0, true}} { // earlier versions wrote no time of birth
		m := machine(t, t.TempDir(), were)
		left := &journal{Version: journalVersion, Boot: "first", PID: other.Process.Pid, Born: tt.born, Settings: []entry{{Key: "vm.swappiness", Before: "60", Wanted: "10"}}}
		if err := m.write(left, os.Link); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Restore(); errors.Is(err, ErrJournal) != tt.runs || !tt.runs && err != nil {
			t.Errorf("born %d, the process %d: %v", tt.born, now, err)
		}
	}
}

const victim = "TCPBENCH_TEST_MACHINE"

// Killed at every step of a change and of what follows, a machine is put back as it was. The
// steps are system calls: strace(1) is not needed to stop behind each, for a process
// that is killed at random often enough is killed behind all of them.
func TestKilledAtEveryStep(t *testing.T) {
	if dir := os.Getenv(victim); dir != "" {
		m := machine(t, dir, nil)
		for { // until it is killed
			if _, err := m.Change(wanted); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Restore(); err != nil {
				t.Fatal(err)
			}
		}
	}
	changed, untouched := 0, 0
	// On a slow machine it takes longer until one is killed in the middle.
	for i := 0; i < 60 || changed == 0 && i < 2000; i++ {
		dir := t.TempDir()
		m := machine(t, dir, were)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilledAtEveryStep$")
		cmd.Env = append(os.Environ(), victim+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(filepath.Dir(m.Journal)); err == nil || time.Since(began) > 10*time.Second {
				break
			}
		}
		time.Sleep(time.Duration(i%20+i/60) * 137 * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		now := m.values(t, were)
		if _, err := os.Stat(m.Journal); err != nil {
			// Without a journal nothing may be other than it was.
			if !maps.Equal(now, were) {
				t.Fatalf("no journal, and %v", now)
			}
			untouched++
		} else if !maps.Equal(now, were) {
			changed++
		}
		if _, err := m.Restore(); err != nil {
			t.Fatal(err)
		}
		if got := m.values(t, were); !maps.Equal(got, were) {
			t.Fatalf("%v, want %v", got, were)
		}
	}
	if changed == 0 {
		t.Errorf("it was never killed in the middle of a change (%d times without a journal)", untouched)
	}
}
