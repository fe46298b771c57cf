package metrics

// Lab is the pair of network namespaces in which a run took place.
type Lab struct {
	Client LabHost `json:"client"`
	Server LabHost `json:"server"`
	// ToServer and ToClient are the directions of the link, nil if perfect.
	ToServer *LabLink `json:"to_server,omitempty"`
	ToClient *LabLink `json:"to_client,omitempty"`
	// Timeline is how the link changed while the load ran.
	Timeline []LabMoment `json:"timeline,omitempty"`
}

// LabMoment is a change of a lab's link. An empty direction did not change.
type LabMoment struct {
	AtS      float64 `json:"at_s"` // since the start of the measured time, or the end of the ramp
	ToServer string  `json:"to_server,omitempty"`
	ToClient string  `json:"to_client,omitempty"`
}

// LabLink is a direction of a lab's link that was not perfect.
type LabLink struct {
	Impairment string `json:"impairment"` // in the words of the flag
	// Came are frames that the sender put on the link, Sent those that the receiver got. Both are
	// zero if the kernel carried them.
	Came  uint64             `json:"came"`
	Sent  uint64             `json:"sent"`
	Lost  uint64             `json:"lost"` // packets lost by loss, every and drop
	Verbs map[string]LabVerb `json:"verbs,omitempty"`
	// Overflows are packets lost because too many came at once or were under way, RingOverflows
	// those of them that came faster than the link read them.
	Overflows     uint64 `json:"overflows"`
	RingOverflows uint64 `json:"ring_overflows"`
	// Refused are frames too long for the link, or for a device that was down.
	Refused uint64 `json:"refused"`
	// BehindMax is the longest time in nanoseconds that a packet waited until the link read it: a
	// busy machine makes the link slow.
	BehindMax int64 `json:"behind_max"`
	// Data is nil unless the scenario has the link follow sequence numbers.
	Data *LabData `json:"data,omitempty"`
	// LateP99 is the 99th percentile in nanoseconds of how late delayed packets were sent.
	LateP99 int64 `json:"late_p99"`
}

// LabData counts TCP segments with data, and sequence numbers: one for each byte of a stream.
type LabData struct {
	// Lost are segments that the link lost, Again those with a number that had come before.
	Segments uint64 `json:"segments"`
	Lost     uint64 `json:"lost"`
	Again    uint64 `json:"again"`
	// Bytes are the different numbers that came, Missing those of them that never passed.
	Bytes   uint64 `json:"bytes"`
	Missing uint64 `json:"missing"`
}

// LabVerb counts what one verb of a lab's link did.
type LabVerb struct {
	// Asked are the packets about which it decided, Done those to which it was done.
	Asked uint64 `json:"asked"`
	Done  uint64 `json:"done"`
}

// LabHost is one of the two namespaces.
type LabHost struct {
	Profile  string       `json:"profile"`
	Settings []LabSetting `json:"settings"`
	// Values are those of settings that the profile does not set: in a comparison, those that the
	// other sides' profiles set. Empty means that there is no such setting.
	Values map[string]string `json:"values,omitempty"`
}

// LabSetting is a kernel setting of a profile, and whether the kernel took it.
type LabSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	// Outcome is applied, changed, refused, read-only, global or unknown (docs/lab.md).
	Outcome string `json:"outcome"`
	// Now is the value afterwards, empty if there is no such setting.
	Now string `json:"now,omitempty"`
	Why string `json:"why,omitempty"`
}

// Applied is the outcome of a setting that is as the profile says, Changed that of one of which the
// kernel made another value.
const (
	Applied = "applied"
	Changed = "changed"
)

// Effective tells whether the setting has the value of the profile, whoever set it.
func (s *LabSetting) Effective() bool {
	return s.Outcome == Applied || s.Now != "" && s.Now == s.Value
}

// Reason says why a setting is not as the profile says.
func (s *LabSetting) Reason() string {
	text := map[string]string{
		"unknown":   "this kernel has no such setting",
		"global":    "it is the machine's, and no namespace has its own",
		"read-only": "it is the machine's, and a namespace may only read it",
		"refused":   "the kernel refuses the value",
		Changed:     "the kernel made another value of it",
	}[s.Outcome]
	if text == "" {
		text = s.Outcome
	}
	if s.Why != "" {
		text += " (" + s.Why + ")"
	}
	if s.Now != "" {
		text += "; it is " + s.Now
	}
	return text
}

// Missed are the settings that are not as the profile says.
func (h *LabHost) Missed() (all []LabSetting) {
	for _, s := range h.Settings {
		if s.Outcome != Applied {
			all = append(all, s)
		}
	}
	return all
}
