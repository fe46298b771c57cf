package metrics

// Lab is where a run took place, if not on the host itself: a pair of network namespaces,
// each with settings of its own.
type Lab struct {
	Client LabHost `json:"client"`
	Server LabHost `json:"server"`
	// ToServer and ToClient are the directions of the link, nil where it was perfect.
	ToServer *LabLink `json:"to_server,omitempty"`
	ToClient *LabLink `json:"to_client,omitempty"`
	// Timeline is how the link changed while the load ran.
	Timeline []LabMoment `json:"timeline,omitempty"`
}

// LabMoment is a change of a lab's link. A direction that is empty stayed as it was.
type LabMoment struct {
	AtS      float64 `json:"at_s"` // since the measured time began, or the population was there
	ToServer string  `json:"to_server,omitempty"`
	ToClient string  `json:"to_client,omitempty"`
}

// LabLink is a direction of a lab's link that was not perfect.
type LabLink struct {
	// Impairment is what it did to packets, in the words of the flag.
	Impairment string `json:"impairment"`
	// Came is how many frames the sender has put on the link, and Sent how many the receiver
	// was given; both are zero if the kernel carried them.
	Came uint64 `json:"came"`
	Sent uint64 `json:"sent"`
	// Lost is how many packets loss, every and drop have lost.
	Lost uint64 `json:"lost"`
	// Verbs are what each verb of the link was asked and has done, by its name.
	Verbs map[string]LabVerb `json:"verbs,omitempty"`
	// Overflows is how many packets the link has lost because too many came at once, or were
	// under way; RingOverflows is how many of these came faster than they were read.
	Overflows     uint64 `json:"overflows"`
	RingOverflows uint64 `json:"ring_overflows"`
	// Refused is how many frames were too long for the link, or met a device that was down.
	Refused uint64 `json:"refused"`
	// BehindMax is how long a packet waited at most, in nanoseconds, until the link read it: a
	// machine that is busy makes the link slow.
	BehindMax int64 `json:"behind_max"`
	// Data is what became of TCP segments with data; nil if the scenario did not ask for it.
	Data *LabData `json:"data,omitempty"`
	// LateP99 is the 99th percentile of how late delayed packets were sent, in nanoseconds.
	LateP99 int64 `json:"late_p99"`
}

// LabData follows the data of connections by sequence numbers: a number is a byte of a stream.
type LabData struct {
	// Segments is how many with data came, Lost how many of these the link has lost, and Again
	// how many had a number that had come before: they were sent again.
	Segments uint64 `json:"segments"`
	Lost     uint64 `json:"lost"`
	Again    uint64 `json:"again"`
	// Bytes is how many different numbers came, and Missing how many of these never passed.
	Bytes   uint64 `json:"bytes"`
	Missing uint64 `json:"missing"`
}

// LabVerb is what one verb of a lab's link was asked and has done.
type LabVerb struct {
	// Asked is how many packets it decided about, and Done to how many it was done.
	Asked uint64 `json:"asked"`
	Done  uint64 `json:"done"`
}

// LabHost is one of the two.
type LabHost struct {
	// Profile names the settings that it was given.
	Profile  string       `json:"profile"`
	Settings []LabSetting `json:"settings"`
	// Values are those of further settings, which the profile leaves as they are: in a
	// comparison, what the other sides' profiles name. Empty means that there is no such setting.
	Values map[string]string `json:"values,omitempty"`
}

// LabSetting is a kernel setting of a profile, and what became of it.
type LabSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	// Outcome is applied, changed, refused, read-only, global or unknown (docs/lab.md).
	Outcome string `json:"outcome"`
	// Now is the value that it had then, empty where there is no such setting.
	Now string `json:"now,omitempty"`
	Why string `json:"why,omitempty"`
}

// Applied is the outcome of a setting that is as the profile says, and Changed of one of
// which the kernel has made another value.
const (
	Applied = "applied"
	Changed = "changed"
)

// Effective tells whether the setting has the value of the profile, whoever has set it.
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
