package machine

import (
	"os"
	"path"
	"strings"

	"tcpbench/internal/values"
)

// NearKey suggests a setting for a key of the network that this kernel does not have. It returns
// nothing if the kernel has the key, or has none with a similar name.
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
			entries, _ := os.ReadDir(at) // nothing to suggest
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
