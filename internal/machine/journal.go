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

// JournalFile is where the journal of changes to this machine is while they last.
const JournalFile = "/var/lib/tcpbench/journal.json"

// Machine changes settings of a machine for the length of a run. It writes their values to a journal
// on disk before it changes the first of them, so they can be put back however the run ends.
type Machine struct {
	// Journal is the file.
	Journal string
	// Kept, if not nil, is called by Restore for each setting that somebody else has changed
	// during the run: it keeps that value.
	Kept func(Restored)

	mu   sync.Mutex                     // a signal handler may call Restore while the run does
	root string                         // /proc/sys, or a directory of a test
	boot func() string                  // an id of this start of the machine
	put  func(file, value string) error // writes a setting, whole and at once
}

// This is the machine that this process runs on.
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
	// Born is when that process began, in clock ticks since the machine started: another process
	// may get its id later.
	Born uint64 `json:"born,omitempty"`
	// Boot is the start of the machine. Changes do not outlive it.
	Boot     string  `json:"boot"`
	Settings []entry `json:"settings"`
}

// entry is a setting that a run changes.
type entry struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	Wanted string `json:"wanted"`
	// Became is what the kernel made of Wanted. It is missing if the run was killed while it wrote
	// the settings.
	Became *string `json:"became,omitempty"`
}

// ours tells whether a setting still has the value that the run gave it. If Became is missing, any
// value but the one before counts as the run's.
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

// Change writes settings of the machine, and reports each. Restore undoes it.
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
	// link(2) fails if the file exists: two runs cannot both have the journal.
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
	// Restore needs Became to tell the run's values from those of others.
	return reports, m.write(&j, os.Rename)
}

// write puts the journal on disk, whole or not at all. place gives the written file the
// journal's name.
func (m *Machine) write(j *journal, place func(from, to string) error) error {
	err := m.writeFile(j, place)
	switch {
	case errors.Is(err, fs.ErrExist):
		return m.refusal()
	case err != nil:
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func (m *Machine) writeFile(j *journal, place func(from, to string) error) error {
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(m.Journal)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".journal.*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), m.Journal); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes sure that the names in a directory are on disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// refusal says whose journal is there.
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

// underWay tells whether the process that wrote the journal still runs.
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
		return nil, fmt.Errorf("%s: %w: the file is damaged: put back by hand what it says, and remove it", m.Journal, err)
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

// sweep removes files of runs that were killed before their journal had its name.
func (m *Machine) sweep() {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(m.Journal), ".journal.*"))
	if err != nil {
		return // the pattern is a constant
	}
	for _, name := range left {
		_ = os.Remove(name) // nobody reads it
	}
}

// Restored is a setting that a run had changed.
type Restored struct {
	Key string
	// Now is the value that Restore found, Before that before the run, and Wanted what the run
	// wrote.
	Now, Before, Wanted string
}

// Restore puts the settings of the journal back, and removes it. Without a journal it does nothing.
// A setting that somebody else has changed keeps its value, and Kept is called. If a setting cannot
// be put back, that is an error and the journal stays.
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
	if j.Boot == m.boot() { // else a restart has put the settings back
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

// putBack writes the values before the run over those that the run wrote.
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
