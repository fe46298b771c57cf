package workload

import "fmt"

// Misuse says that a workload contradicts itself: which flag, what is wrong, and what to do.
type Misuse struct {
	Flag string
	With string // the flag that it contradicts, if it is one
	err  error  // begins where the flag's name ends
}

func (m Misuse) Error() string { return "--" + m.Flag + m.err.Error() }
func (m Misuse) Unwrap() error { return m.err }

func misuse(flag, format string, args ...any) error {
	return Misuse{Flag: flag, err: fmt.Errorf(format, args...)}
}

// Check finds flags that are empty or contradict each other. Their ranges are checked where
// they are set (package values).
func (w *Workload) Check() error {
	for _, f := range []struct{ name, text string }{{"target", w.target}, {"payload-file", w.raw.file}, {"congestion", w.options.Congestion}} {
		if w.set(f.name) && f.text == "" { // as in --target "$HOST", of a variable that nobody set
			return misuse(f.name, " is empty: give it a value, or leave it out")
		}
	}
	if len(w.raw.payload) > 1 && w.emptyRequest() {
		return misuse("payload", " is empty: only a single exchange can be one in which the server speaks alone")
	}
	return w.checkRules()
}
