// Package machine changes kernel settings (sysctls): those of a network namespace, and those of
// this machine, which it puts back.
package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// Profile is a list of kernel settings, as in a file of sysctl.d(5).
type Profile struct {
	Name     string
	Settings []Setting
}

// Setting is a line of a profile.
type Setting struct {
	Key, Value string
	// Optional settings may fail: their line begins with a dash.
	Optional bool
	Line     int
}

// longestLine is longer than any setting.
const longestLine = 4096

// ParseProfile reads a file of sysctl.d(5): lines of key = value, and comments after # or ;. If a
// key is there twice, the last value counts.
func ParseProfile(name string, r io.Reader) (*Profile, error) {
	p := &Profile{Name: name}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	for n := 1; lines.Scan(); n++ {
		s, ok, err := parseLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if ok {
			s.Line = n
			p.Set(s)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// ParseSetting reads one key=value.
func ParseSetting(text string) (Setting, error) {
	s, ok, err := parseLine(text)
	if err == nil && !ok {
		err = errors.New("want KEY=VALUE, as in net.ipv4.tcp_tw_reuse=1")
	}
	return s, err
}

func parseLine(text string) (s Setting, ok bool, err error) {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '#' || text[0] == ';' {
		return s, false, nil
	}
	text, s.Optional = strings.CutPrefix(text, "-")
	key, value, found := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch {
	case !found:
		return s, false, fmt.Errorf("%q is no setting: want key = value, as in net.ipv4.tcp_tw_reuse = 1", text)
	case key == "":
		return s, false, errors.New("a value without a key: want key = value")
	case strings.ContainsAny(key, "*?[ \t\x00"):
		return s, false, fmt.Errorf("%q: want one key, without patterns", key)
	case strings.ContainsRune(value, 0):
		return s, false, fmt.Errorf("%s: a value with a zero byte", key)
	}
	s.Key, s.Value = dotted(key), strings.Join(strings.Fields(value), " ")
	for part := range strings.SplitSeq(s.Key, ".") {
		// A slash stands for a dot here: two of them would lead out of /proc/sys.
		if part == "" || part == "/" || strings.Contains(part, "//") {
			return s, false, fmt.Errorf("%q is no key: want words with dots between them", key)
		}
	}
	return s, true, nil
}

// dotted writes a key with dots as separators. If it has slashes, a dot is part of a name (eth0.100).
func dotted(key string) string {
	slash, dot := strings.IndexByte(key, '/'), strings.IndexByte(key, '.')
	if slash >= 0 && (dot < 0 || slash < dot) {
		return strings.NewReplacer("/", ".", ".", "/").Replace(strings.TrimPrefix(key, "/"))
	}
	return key
}

// File is the file of a key.
func File(key string) string {
	return path.Join("/proc/sys", path.Clean("/"+strings.NewReplacer(".", "/", "/", ".").Replace(key)))
}

// Set adds a setting. It replaces an earlier one with the same key.
func (p *Profile) Set(s Setting) {
	for i := range p.Settings {
		if p.Settings[i].Key == s.Key {
			p.Settings[i] = s
			return
		}
	}
	p.Settings = append(p.Settings, s)
}

// Without returns a copy of the profile without a key.
func (p *Profile) Without(key string) *Profile {
	rest := &Profile{Name: p.Name + " without " + key}
	for _, s := range p.Settings {
		if s.Key != key {
			rest.Settings = append(rest.Settings, s)
		}
	}
	return rest
}

// Outcome is what became of a setting.
type Outcome string

// The outcomes.
const (
	Applied  Outcome = metrics.Applied
	Changed  Outcome = metrics.Changed // the kernel made another value of it
	Refused  Outcome = "refused"       // the kernel refused the value
	ReadOnly Outcome = "read-only"     // it can only be read in the namespace
	Global   Outcome = "global"        // it is the machine's: no namespace has its own
	Unknown  Outcome = "unknown"       // this kernel has no such setting
)

// Report tells what became of a setting.
type Report struct {
	Setting
	Outcome Outcome
	// Now is its value afterwards.
	Now string
	// Why explains the outcome; it may be empty.
	Why string
}

// Fine tells whether the setting has the value of the profile.
func (r *Report) Fine() bool { return r.Outcome == Applied }

// Namespace is a network namespace. Do calls f on a thread in it.
type Namespace interface{ Do(f func() error) error }

// Apply writes a profile into a namespace, and reports each setting. An error means that the
// namespace cannot be entered.
func Apply(in Namespace, p *Profile) (reports []Report, err error) {
	err = in.Do(func() error {
		for _, s := range p.Settings {
			reports = append(reports, apply(s))
		}
		return nil
	})
	for i := range reports { // outside of the namespace: what only the machine has
		r := &reports[i]
		if r.Outcome != Unknown {
			continue
		}
		if text, err := os.ReadFile(File(r.Key)); err == nil {
			r.Outcome, r.Now = Global, normal(string(text))
			if r.Now == r.Value {
				r.Why = "the machine has that value"
			}
		}
	}
	return reports, err
}

// Read returns the values of keys in a namespace; those of the machine for keys that no namespace
// has. Empty means that this kernel has no such setting.
func Read(in Namespace, keys []string) (map[string]string, error) {
	values := make(map[string]string, len(keys))
	read := func() {
		for _, key := range keys {
			if values[key] != "" {
				continue
			}
			values[key] = ""
			if text, err := os.ReadFile(File(key)); err == nil {
				values[key] = normal(string(text))
			}
		}
	}
	err := in.Do(func() error { read(); return nil })
	read() // outside of the namespace: what only the machine has
	return values, err
}

// apply writes one setting of the thread's namespace, and reads it back.
func apply(s Setting) Report {
	r := Report{Setting: s, Outcome: Applied}
	if !strings.HasPrefix(s.Key, "net.") {
		// Only net.* can belong to a namespace: all others are the machine's and are never written.
		r.Outcome = Unknown
		return r
	}
	name := File(s.Key)
	if _, err := os.Stat(name); err != nil {
		r.Outcome = Unknown // a write may fail with ENOENT for other reasons
		return r
	}
	err := write(name, s.Value)
	text, readErr := os.ReadFile(name)
	if readErr == nil {
		r.Now = normal(string(text))
	}
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		r.Outcome = ReadOnly
		if errors.Is(err, unix.EROFS) {
			r.Why = mountedReadOnly
		}
		if r.Now == s.Value {
			r.Outcome, r.Why = Applied, "it has that value, and can only be read"
		}
	case err != nil:
		r.Outcome, r.Why = Refused, cause(err).Error()
	case readErr == nil && r.Now != s.Value:
		r.Outcome = Changed
	}
	return r
}

// mountedReadOnly is why a setting that belongs to the namespace is read-only.
const mountedReadOnly = "/proc/sys is mounted read-only, as in a container"

// Unwritable tells whether the setting belongs to the namespace, and only the mount of /proc/sys
// prevents its change.
func (r *Report) Unwritable() bool { return r.Outcome == ReadOnly && r.Why == mountedReadOnly }

// Write changes a setting of a namespace.
func Write(in Namespace, key, value string) error {
	return in.Do(func() error { return write(File(key), value) })
}

// write writes a setting of the thread's namespace. It may give the thread mounts of its own.
func write(name, value string) error {
	err := os.WriteFile(name, []byte(value), 0)
	if errors.Is(err, unix.EROFS) && writable() == nil {
		err = os.WriteFile(name, []byte(value), 0)
	}
	return err
}

// writable mounts /proc/sys writable, for the calling thread alone. Root of a user namespace may
// not do that if it was mounted read-only outside (mount_namespaces(7)).
func writable() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return os.NewSyscallError("mount", unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
}

// cause is an error of a file without the file's name.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// normal is a value with single spaces: the kernel prints ranges with tabs.
func normal(text string) string { return strings.Join(strings.Fields(text), " ") }
