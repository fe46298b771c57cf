package machine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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
	// Kept is called by Restore for each setting that keeps the value that somebody else has
	// given it meanwhile; nil does nothing.
	Kept func(Restored)
	// mu lets a signal's handler restore while the run does so.
	mu sync.Mutex
	// root is where settings stand: /proc/sys, or a test's directory.
	root string
	// boot tells one start of the machine from another.
	boot func() string
	// put writes a setting at once and whole, as a write to a file of /proc/sys does.
	put func(file, value string) error
}

// This is the one that this process runs on.
func This() *Machine {
	return &Machine{Journal: JournalFile, root: "/proc/sys", boot: func() string {
		text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}, put: func(file, value string) error {
		return os.WriteFile(file, []byte(value+"\n"), 0)
	}}
}

// journal is the file's content.
type journal struct {
	Version int       `json:"version"`
	Started time.Time `json:"started"`
	PID     int       `json:"pid"`
	// Born is when that process began, in clock ticks since the machine started: another
	// process may get its id later. A journal of an earlier version of tcpbench has none.
	Born uint64 `json:"born,omitempty"`
	// Boot is the start of the machine at which the settings were changed. They do not
	// outlive it.
	Boot     string  `json:"boot"`
	Settings []entry `json:"settings"`
}

// entry is a setting that a run changes.
type entry struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	Wanted string `json:"wanted"`
	// Became is what the kernel made of Wanted. It is missing in the journal of a run that was
	// killed while it wrote the settings.
	Became *string `json:"became,omitempty"`
}

// ours tells whether a setting still has the value that the run gave it. While the run may
// have been killed between writing the setting and noting what it became, any other value than
// the one before counts as the run's.
func (e *entry) ours(now string) bool {
	return now != e.Before && (e.Became == nil || now == *e.Became)
}

const journalVersion = 1

// ErrJournal means that settings of the machine are changed already.
var ErrJournal = errors.New("settings of this machine are changed already")

func (m *Machine) file(key string) string {
	return filepath.Join(m.root, strings.TrimPrefix(File(key), "/proc/sys"))
}

func (m *Machine) read(key string) (string, error) {
	text, err := os.ReadFile(m.file(key))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, cause(err))
	}
	return strings.TrimSpace(string(text)), nil
}

// Change writes settings of the machine, and tells what became of each. Nothing is
// changed before the journal is on disk; Restore undoes it.
func (m *Machine) Change(settings []Setting) ([]Report, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := journal{Version: journalVersion, Started: time.Now(), PID: os.Getpid(), Born: born(os.Getpid()), Boot: m.boot()}
	for _, s := range settings {
		before, err := m.read(s.Key)
		if err != nil {
			return nil, fmt.Errorf("change this machine: %w", err)
		}
		j.Settings = append(j.Settings, entry{Key: s.Key, Before: before, Wanted: s.Value})
	}
	// A link is made only if no file is there: two runs cannot both have the journal.
	if err := m.write(&j, os.Link); err != nil {
		return nil, err
	}
	var reports []Report
	for i, s := range settings {
		r := Report{Setting: s, Outcome: Applied, Why: "on this machine, until the end of the run"}
		if err := m.put(m.file(s.Key), s.Value); err != nil {
			r.Outcome, r.Why = Refused, cause(err).Error()
		}
		if now, err := m.read(s.Key); err == nil {
			j.Settings[i].Became = &now
			if r.Now = normal(now); r.Outcome == Applied && r.Now != s.Value {
				r.Outcome = Changed
			}
		}
		reports = append(reports, r)
	}
	// Restore needs it to tell the run's values from somebody else's.
	return reports, m.write(&j, os.Rename)
}

// write puts the journal on disk, whole or not at all. place gives the written file the
// journal's name.
func (m *Machine) write(j *journal, place func(from, to string) error) error {
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
	if err := place(f.Name(), m.Journal); err != nil {
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
	case m.underWay(j):
		return fmt.Errorf("%w by process %d, since %s (%s): wait for its end", ErrJournal, j.PID, j.Started.Format(time.DateTime), m.Journal)
	}
	return fmt.Errorf("%w by a run of %s that was killed (%s): tcpbench restore puts them back", ErrJournal, j.Started.Format(time.DateTime), m.Journal)
}

// underWay tells whether the process that wrote the journal still runs. A process that got its
// id later has another time of birth.
func (m *Machine) underWay(j *journal) bool {
	if j.Boot != m.boot() {
		return false
	}
	now := born(j.PID)
	return now != 0 && (j.Born == 0 || now == j.Born)
}

// born is when a process began, in clock ticks since the machine started (proc_pid_stat(5),
// starttime), or zero if there is no such process.
func born(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The command's name, in parentheses, may contain anything.
	_, rest, _ := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), " ")
	fields := strings.Fields(rest)
	const starttime = 22 - 3 // the third field comes first here
	if len(fields) <= starttime {
		return 0
	}
	ticks, err := strconv.ParseUint(fields[starttime], 10, 64)
	if err != nil {
		return 0
	}
	return ticks
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

// Restored is a setting that a run had changed.
type Restored struct {
	Key string
	// Now is its value when Restore looked, Before its value before the run, and Wanted the one
	// that the run wrote.
	Now, Before, Wanted string
}

// Restore puts back what the journal says, and removes it. A setting that somebody else has
// changed since keeps its value, and Kept is told. Without a journal there is nothing to do. A
// setting that cannot be put back is an error, and the journal stays.
func (m *Machine) Restore() (all []Restored, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, err := m.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.sweep()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("restore this machine: %w", err)
	}
	if j.PID != os.Getpid() && m.underWay(j) {
		return nil, fmt.Errorf("restore this machine: %w", m.refusal())
	}
	if j.Boot == m.boot() { // else the machine has started anew, with its own settings
		if all, err = m.putBack(j); err != nil {
			return all, fmt.Errorf("restore this machine: %w", err)
		}
	}
	m.sweep()
	if err := os.Remove(m.Journal); err != nil {
		return all, fmt.Errorf("restore this machine: %w", err)
	}
	return all, syncDir(filepath.Dir(m.Journal))
}

// putBack writes the values before the run over those that are still the run's.
func (m *Machine) putBack(j *journal) (all []Restored, err error) {
	var errs []error
	for i := range j.Settings {
		e := &j.Settings[i]
		now, err := m.read(e.Key)
		r := Restored{Key: e.Key, Now: now, Before: e.Before, Wanted: e.Wanted}
		switch {
		case err != nil, now == e.Before:
		case e.ours(now):
			all = append(all, r)
			err = m.put(m.file(e.Key), e.Before)
		case m.Kept != nil:
			m.Kept(r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s = %s: %w", e.Key, e.Before, cause(err)))
		}
	}
	return all, errors.Join(errs...)
}
