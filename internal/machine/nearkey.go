package machine

import (
	"os"
	"path"
	"strings"

	"tcpbench/internal/values"
)

// NearKey returns the setting that a key of the network may have meant which this kernel does
// not have, or nothing if it has the key, or none that is near. A setting of another kernel
// has none: it is left to the profile's report.
func NearKey(key string) string {
	if !strings.HasPrefix(key, "net.") {
		return ""
	}
	if _, err := os.Stat(File(key)); err == nil {
		return ""
	}
	at := "/proc/sys"
	var near []string
	for part := range strings.SplitSeq(key, ".") {
		part = strings.ReplaceAll(part, "/", ".") // a dot within a name
		if _, err := os.Stat(path.Join(at, part)); err != nil {
			entries, _ := os.ReadDir(at) // what cannot be read suggests nothing
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if part = values.Nearest(part, names); part == "" {
				return ""
			}
		}
		at = path.Join(at, part)
		near = append(near, strings.ReplaceAll(part, ".", "/"))
	}
	return strings.Join(near, ".")
}
