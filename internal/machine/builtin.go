package machine

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"tcpbench/internal/values"
)

//go:embed profiles/*.conf
var builtin embed.FS

// KernelDefault is the profile that changes nothing: a new namespace has the kernel's defaults.
// HostProfile is the present settings of this host.
const (
	KernelDefault = "kernel-default"
	HostProfile   = "host"
)

// Profiles lists the built-in profiles, and HostProfile.
func Profiles() []string {
	names := []string{HostProfile}
	files, err := fs.Glob(builtin, "profiles/*.conf")
	if err != nil {
		panic(err) // a constant of this file
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".conf"))
	}
	slices.Sort(names)
	return names
}

// Text is the file of a built-in profile.
func Text(name string) ([]byte, bool) {
	text, err := builtin.ReadFile("profiles/" + name + ".conf")
	return text, err == nil
}

// Load reads a profile: a built-in one, the host's, or a file, whose name has a dot or a slash.
func Load(name string) (*Profile, error) {
	if name == HostProfile {
		return hostProfile()
	}
	if text, ok := Text(name); ok {
		return ParseProfile(name, bytes.NewReader(text))
	}
	if !strings.ContainsAny(name, "./") {
		if near := values.Nearest(name, Profiles()); near != "" {
			return nil, fmt.Errorf("no profile %q: did you mean %s?", name, near)
		}
		return nil, fmt.Errorf("no profile %q; there are: %s; or name a file, as in ./%s.conf", name, strings.Join(Profiles(), ", "), name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name a file as in sysctl.d that can be read", name, cause(err))
	}
	defer f.Close()
	return ParseProfile(name, f)
}

// hostProfile reads the settings of TCP, its ports and its queues.
func hostProfile() (*Profile, error) {
	p := &Profile{Name: HostProfile}
	for _, pattern := range []string{"ipv4/tcp_*", "ipv4/ip_local_*", "ipv4/ip_autobind_reuse", "core/somaxconn"} {
		names, err := fs.Glob(os.DirFS("/proc/sys/net"), pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := os.ReadFile("/proc/sys/net/" + name)
			switch {
			case errors.Is(err, fs.ErrPermission), slices.Contains(notSettings, path.Base(name)):
				continue // only root can read the keys of fast open
			case err != nil:
				return nil, fmt.Errorf("profile host: %w", err)
			}
			if value := normal(string(text)); value != "" {
				p.Set(Setting{Key: "net." + strings.ReplaceAll(name, "/", "."), Value: value})
			}
		}
	}
	return p, nil
}

// notSettings are files among the settings that nobody sets: they tell something.
var notSettings = []string{
	"tcp_available_congestion_control", "tcp_available_ulp", "tcp_ehash_entries", "tcp_fastopen_key",
	"tcp_allowed_congestion_control",
}
