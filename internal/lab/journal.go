package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Some settings are the machine's, and no namespace has its own. They can be changed on the
// machine itself for the length of a run, and only so: what they were is on disk before the
// first of them is touched, so that whatever ends the run, they can be put back.

// JournalFile is where the journal of changes to this machine lies while they last.
const JournalFile = "/var/lib/tcpbench/journal.json"

// Machine changes the settings of a machine.
type Machine struct {
	// Journal is the file that says what they were.
	Journal string
	// root is where settings stand: /proc/sys, or a test's directory.
	root string
	// boot tells one start of the machine from another.
	boot func() string
}

// ThisMachine is the one that this process runs on.
func ThisMachine() *Machine {
	return &Machine{Journal: JournalFile, root: "/proc/sys", boot: func() string {
		text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}}
}

// journal is the file's content.
type journal struct {
	Version int       `json:"version"`
	Started time.Time `json:"started"`
	PID     int       `json:"pid"`
	// Boot is the start of the machine at which the settings were changed. They do not
	// outlive it.
	Boot     string  `json:"boot"`
	Settings []entry `json:"settings"`
}

// entry is a setting that is to be changed.
type entry struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	Wanted string `json:"wanted"`
}

const journalVersion = 1

// ErrJournal means that settings of the machine are changed already.
var ErrJournal = errors.New("settings of this machine are changed already")

func (m *Machine) file(key string) string {
	return filepath.Join(m.root, strings.TrimPrefix(file(key), "/proc/sys"))
}

func (m *Machine) read(key string) (string, error) {
	text, err := os.ReadFile(m.file(key))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, cause(err))
	}
	return strings.TrimSpace(string(text)), nil
}

// Change sets what the machine has to set, and tells what became of each. Nothing is
// changed before the journal is on disk; Restore undoes it.
func (m *Machine) Change(settings []Setting) ([]Report, error) {
	j := journal{Version: journalVersion, Started: time.Now(), PID: os.Getpid(), Boot: m.boot()}
	for _, s := range settings {
		before, err := m.read(s.Key)
		if err != nil {
			return nil, fmt.Errorf("change this machine: %w", err)
		}
		j.Settings = append(j.Settings, entry{s.Key, before, s.Value})
	}
	if err := m.write(&j); err != nil {
		return nil, err
	}
	var reports []Report
	for _, s := range settings {
		r := Report{Setting: s, Outcome: Applied, Why: "on this machine, until the end of the run"}
		if err := os.WriteFile(m.file(s.Key), []byte(s.Value+"\n"), 0); err != nil {
			r.Outcome, r.Why = Refused, cause(err).Error()
		}
		if now, err := m.read(s.Key); err == nil {
			if r.Now = normal(now); r.Outcome == Applied && r.Now != s.Value {
				r.Outcome = Changed
			}
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// write puts the journal on disk, whole or not at all, and only where there is none.
func (m *Machine) write(j *journal) error {
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	dir := filepath.Dir(m.Journal)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	f, err := os.CreateTemp(dir, ".journal.*")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	// A link is made where no file is, or not: two runs cannot both have it.
	if err := os.Link(f.Name(), m.Journal); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return m.refusal()
		}
		return fmt.Errorf("journal: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// refusal says whose journal lies there.
func (m *Machine) refusal() error {
	j, err := m.load()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrJournal, err)
	case j.Boot == m.boot() && alive(j.PID):
		return fmt.Errorf("%w by process %d, since %s (%s): wait for its end", ErrJournal, j.PID, j.Started.Format(time.DateTime), m.Journal)
	}
	return fmt.Errorf("%w by a run of %s that was killed (%s): tcpbench restore puts them back", ErrJournal, j.Started.Format(time.DateTime), m.Journal)
}

func alive(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

// load reads the journal. fs.ErrNotExist means that nothing is changed.
func (m *Machine) load() (*journal, error) {
	text, err := os.ReadFile(m.Journal)
	if err != nil {
		return nil, err
	}
	var j journal
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, fmt.Errorf("%s: %w: it is damaged; put back by hand what it says, and remove it", m.Journal, err)
	}
	if j.Version != journalVersion {
		return nil, fmt.Errorf("%s: version %d, this program reads %d", m.Journal, j.Version, journalVersion)
	}
	for _, e := range j.Settings {
		s, ok, err := parseLine(e.Key + " = " + normal(e.Before))
		if err != nil || !ok || s.Key != e.Key {
			return nil, fmt.Errorf("%s: %q is no setting", m.Journal, e.Key)
		}
	}
	return &j, nil
}

// sweep removes what a run has left that was killed before its journal had its name.
func (m *Machine) sweep() {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(m.Journal), ".journal.*"))
	if err != nil {
		return // the pattern is ours
	}
	for _, name := range left {
		_ = os.Remove(name) // a file that nobody reads
	}
}

// Restored is a setting that was put back.
type Restored struct {
	Key, Now, Before string
}

// Restore puts back what the journal says, and removes it. Without a journal there is
// nothing to do. A setting that cannot be put back is an error, and the journal stays.
func (m *Machine) Restore() (all []Restored, err error) {
	j, err := m.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.sweep()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("restore this machine: %w", err)
	}
	if j.PID != os.Getpid() && j.Boot == m.boot() && alive(j.PID) {
		return nil, fmt.Errorf("restore this machine: %w", m.refusal())
	}
	if j.Boot == m.boot() { // else the machine has started anew, with its own settings
		var errs []error
		for _, e := range j.Settings {
			now, err := m.read(e.Key)
			if err == nil && now != e.Before {
				all = append(all, Restored{e.Key, now, e.Before})
				err = os.WriteFile(m.file(e.Key), []byte(e.Before+"\n"), 0)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s = %s: %w", e.Key, e.Before, cause(err)))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return all, fmt.Errorf("restore this machine: %w", err)
		}
	}
	m.sweep()
	if err := os.Remove(m.Journal); err != nil {
		return all, fmt.Errorf("restore this machine: %w", err)
	}
	return all, syncDir(filepath.Dir(m.Journal))
}
