package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// Unapplied is a setting of a side's profile that the kernel did not take.
type Unapplied struct {
	Side   string `json:"side"`
	Host   string `json:"host"` // client, server, or both
	Key    string `json:"key"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

// unapplied lists the settings that are not as a side's profile says, in any of its results.
func unapplied(sides []Side) (all []Unapplied) {
	for _, s := range sides {
		for _, r := range s.Results {
			if r.Lab == nil {
				continue
			}
			client, server := missed(s.Name, &r.Lab.Client), missed(s.Name, &r.Lab.Server)
			for i, u := range slices.Concat(client, server) {
				switch mine := i < len(client); {
				case mine && slices.Contains(server, u):
					u.Host = "both"
				case mine:
					u.Host = "client"
				case slices.Contains(client, u):
					continue
				default:
					u.Host = "server"
				}
				if !slices.Contains(all, u) {
					all = append(all, u)
				}
			}
		}
	}
	return all
}

// missed are the settings of a host's profile that it does not have.
func missed(side string, h *metrics.LabHost) (all []Unapplied) {
	for _, s := range h.Settings {
		if !s.Effective() {
			all = append(all, Unapplied{Side: side, Key: s.Key, Value: s.Value, Reason: s.Reason()})
		}
	}
	return all
}

// values are the settings in effect during a run: "client KEY" and "server KEY". An empty value means
// that the kernel has no such setting.
func values(r *metrics.Result) map[string]string {
	all := map[string]string{}
	for key, value := range r.Host.Sysctls {
		if key == "net.netfilter.nf_conntrack_count" { // not a setting
			continue
		}
		all["client "+key] = value
		if r.Lab == nil {
			all["server "+key] = value
		}
	}
	if r.Lab == nil {
		return all
	}
	for side, h := range map[string]*metrics.LabHost{"client ": &r.Lab.Client, "server ": &r.Lab.Server} {
		for key, value := range h.Values {
			all[side+key] = value
		}
		for _, s := range h.Settings {
			all[side+s.Key] = s.Now
		}
	}
	return all
}

// settingsThatDiffer compares the values in effect. A setting that is unknown on one of the sides is
// not compared.
func settingsThatDiffer(sides []Side) (all []Difference) {
	known := make([]map[string][]string, len(sides))
	keys := map[string]bool{}
	for i, s := range sides {
		known[i] = map[string][]string{}
		for n, r := range s.Results {
			for key, value := range values(r) {
				keys[key] = true
				if n == 0 || known[i][key] != nil {
					known[i][key] = append(known[i][key], value)
				}
			}
		}
	}
	differ := map[string]Difference{}
	for key := range keys {
		d := Difference{What: key}
		for i, s := range sides {
			if len(known[i][key]) == len(s.Results) {
				list := slices.Sorted(slices.Values(known[i][key]))
				d.Values = append(d.Values, strings.Join(slices.Compact(list), " or "))
			}
		}
		if len(d.Values) == len(sides) && len(slices.Compact(slices.Clone(d.Values))) > 1 {
			differ[key] = d
		}
	}
	for _, key := range slices.Sorted(maps.Keys(differ)) {
		d := differ[key]
		name, client := strings.CutPrefix(key, "client ")
		if !client {
			name = strings.TrimPrefix(key, "server ")
			if other, ok := differ["client "+name]; ok && slices.Equal(other.Values, d.Values) {
				continue
			}
		} else if other, ok := differ["server "+name]; ok && slices.Equal(other.Values, d.Values) || !keys["server "+name] {
			d.What = name
		}
		all = append(all, d)
	}
	return append(all, untold(sides, known, keys)...)
}

// untold counts the settings that are unknown on some sides.
func untold(sides []Side, known []map[string][]string, keys map[string]bool) []Difference {
	const shown = 3
	d := Difference{What: "settings that not all sides tell"}
	any := false
	for i := range sides {
		var only []string
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			everywhere := true
			for k := range sides {
				everywhere = everywhere && known[k][key] != nil
			}
			if known[i][key] != nil && !everywhere {
				only = append(only, key)
			}
		}
		text := strings.Join(only[:min(shown, len(only))], ", ")
		if more := len(only) - shown; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		any = any || text != ""
		d.Values = append(d.Values, text)
	}
	if !any {
		return nil
	}
	return []Difference{d}
}
