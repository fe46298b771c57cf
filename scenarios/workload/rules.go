package workload

import (
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strings"

	"tcpbench/internal/values"
	"tcpbench/loadgen"
)

// What the user writes wins over what a scenario presets. If the two break a rule together, the
// preset gives way (giveWay). If flags of the user alone break it, that is an error (Check), which
// so names only what the user wrote.

// A term is something that a flag says.
type term struct {
	flag string
	when func() bool // nil: the flag is given, and is not switched off by false or zero
}

func on(flag string) term                     { return term{flag, nil} }
func says(flag string, when func() bool) term { return term{flag, when} }

// given is a term that counts a value of zero, too.
func given(flag string) term { return term{flag, func() bool { return true }} }

// An exclusion says that the flag of its entry contradicts each of the others.
type exclusion struct {
	says   func() bool // as in a term
	others []term
	why    string
	remedy string // besides leaving one of them out; may be empty
}

func against(why string, others ...term) exclusion       { return exclusion{others: others, why: why} }
func (x exclusion) when(condition func() bool) exclusion { x.says = condition; return x }
func (x exclusion) or(remedy string) exclusion           { x.remedy = remedy; return x }

// A need says that the flag of its entry means nothing unless something else holds.
type need struct {
	says func() bool // as in a term
	why  string      // with what to add
	has  func() bool
}

func needs(why string, has func() bool) need   { return need{why: why, has: has} }
func (n need) when(condition func() bool) need { n.says = condition; return n }

// A breach is a rule that does not hold.
type breach struct {
	flag, with  string // with is empty if a need is broken
	why, remedy string
}

// breaches are the rules that do not hold: exclusions, then needs.
func (w *Workload) breaches() iter.Seq[breach] {
	return func(yield func(breach) bool) {
		for _, f := range w.table {
			for _, x := range f.excludes {
				for _, other := range x.others {
					if w.holds(term{f.name, x.says}) && w.holds(other) && !yield(breach{f.name, other.flag, x.why, x.remedy}) {
						return
					}
				}
			}
		}
		for _, f := range w.table {
			for _, n := range f.needs {
				if w.holds(term{f.name, n.says}) && !n.has() && !yield(breach{flag: f.name, why: n.why}) {
					return
				}
			}
		}
	}
}

// holds tells whether a flag says so. A flag that nobody has given says nothing.
func (w *Workload) holds(t term) bool {
	switch {
	case !w.set(t.flag):
		return false
	case t.when != nil:
		return t.when()
	}
	return !values.Off(w.flags.Lookup(t.flag).Value)
}

// Misuse is an error of a workload that contradicts itself: which flag, what is wrong, and what to do.
type Misuse struct {
	Flag string
	With string // the flag that it contradicts, if there is one
	err  error  // begins where the flag's name ends
}

func (m Misuse) Error() string { return "--" + m.Flag + m.err.Error() }
func (m Misuse) Unwrap() error { return m.err }

func misuse(flag, format string, args ...any) error {
	return Misuse{Flag: flag, err: fmt.Errorf(format, args...)}
}

// Check returns a Misuse if flags contradict each other or lack another. The range of each is
// checked when it is set (package values).
func (w *Workload) Check() error {
	for b := range w.breaches() {
		if b.with == "" {
			return misuse(b.flag, "%s %s", w.text(b.flag), b.why)
		}
		err := fmt.Errorf("%s and --%s%s: %s: leave one of them out", w.text(b.flag), b.with, w.text(b.with), b.why)
		if b.remedy != "" {
			err = fmt.Errorf("%w, or %s", err, b.remedy)
		}
		return Misuse{b.flag, b.with, err}
	}
	return nil
}

// text is the value of a flag as it stands after the name.
func (w *Workload) text(flag string) string {
	v := w.flags.Lookup(flag).Value
	switch text := v.String(); {
	case v.Type() == "bool" && text == "true" || flag == "payload":
		return ""
	case v.Type() == "bool":
		return "=" + text
	default:
		return " " + text
	}
}

// isPreset tells whether the scenario has set a flag, and the user has not.
func (w *Workload) isPreset(flag string) bool { return w.presets[flag] && !w.flags.Changed(flag) }

// giveWay returns a preset that has no place next to the user's flags, or nothing.
func (w *Workload) giveWay() string {
	for _, f := range w.table {
		for _, preset := range f.replaces {
			if w.flags.Changed(f.name) && w.isPreset(preset) {
				return preset
			}
		}
	}
	for b := range w.breaches() {
		switch {
		case w.isPreset(b.flag):
			return b.flag
		case w.isPreset(b.with):
			return b.with
		}
	}
	return ""
}

func (w *Workload) moreThanABurst() bool {
	c := &w.plan.Client
	return c.Burst > 0 && c.Every == 0 && c.Count > uint64(c.Burst)
}

// emptyRequest tells whether one of the requests of --payload has no bytes.
func (w *Workload) emptyRequest() bool {
	return slices.ContainsFunc(w.payload, func(t loadgen.Template) bool { return len(t.Text) == 0 })
}

// hasSource tells whether a source address is of a family.
func (w *Workload) hasSource(family func(netip.Addr) bool) bool {
	return slices.ContainsFunc(w.plan.Client.Sources, func(a netip.Addr) bool { return family(a.Unmap()) })
}

// hasTarget tells whether a target is written as an address of a family.
func (w *Workload) hasTarget(family func(netip.Addr) bool) bool {
	for target := range strings.SplitSeq(w.target, ",") {
		// Names, and what is no target, are left to stage.Resolve.
		if host, _, err := net.SplitHostPort(target); err == nil {
			if a, err := netip.ParseAddr(host); err == nil && family(a.Unmap()) {
				return true
			}
		}
	}
	return false
}
