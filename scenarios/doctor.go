package scenarios

import (
	"cmp"
	"fmt"
	"io"

	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/metrics"
	"tcpbench/metrics/diagnose"
	"tcpbench/metrics/report"
)

// The formats of what doctor tells.
var (
	Prognoses     = report.Formats[[]Prognosis]{{Name: "text", Write: writePrognoses}, {Name: "json", Write: report.JSON[[]Prognosis]}}
	Constitutions = report.Formats[*Constitution]{{Name: "text", Write: writeHost}, {Name: "json", Write: report.JSON[*Constitution]}}
)

// Prognosis is what a run of a scenario will meet.
type Prognosis struct {
	scenario string
	Host     metrics.Host      `json:"host"`
	Phase    string            `json:"phase,omitempty"`
	Findings []metrics.Finding `json:"findings"`
}

// Prognose finds what the runs of a scenario will meet on this host.
func Prognose(s *Scenario, plans []PhasePlan) (all []Prognosis) {
	host := sysinfo.Host()
	for i := range plans {
		findings := append([]metrics.Finding{}, plans[i].Plan.Forecast(&host)...)
		all = append(all, Prognosis{s.Name, host, plans[i].Name, findings})
	}
	return all
}

func writePrognoses(w io.Writer, all []Prognosis, style report.Style) error {
	for _, p := range all {
		name := p.scenario
		if p.Phase != "" {
			name += ", phase " + p.Phase
		}
		if len(p.Findings) == 0 {
			if _, err := fmt.Fprintf(w, "%s: nothing in this host's settings stands in its way\n", name); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(w, "%s:\n", name); err != nil {
			return err
		}
		if err := report.Findings(w, p.Findings, style); err != nil {
			return err
		}
	}
	return nil
}

// Constitution is what the machine can do, and what its settings allow.
type Constitution struct {
	Host       metrics.Host        `json:"host"`
	Abilities  []metrics.Ability   `json:"abilities"`
	Capacities []diagnose.Capacity `json:"capacities"`
	Findings   []metrics.Finding   `json:"findings"`
}

// Examine asks the machine.
func (m *Machine) Examine() *Constitution {
	host := sysinfo.Host()
	return &Constitution{host, m.Abilities(&host), diagnose.Capacities(&host), append([]metrics.Finding{}, diagnose.Traps(&host)...)}
}

func writeHost(w io.Writer, c *Constitution, style report.Style) error {
	host := &c.Host
	fmt.Fprintf(w, "%s, %d × %s, %s\n\n", host.Kernel, host.CPUs, host.CPUModel, cmp.Or(host.OS, "no /etc/os-release"))
	if err := report.Abilities(w, c.Abilities, style); err != nil {
		return err
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, one := range c.Capacities {
		rows = append(rows, []string{amount(one), one.What, one.From})
	}
	if err := report.Columns(w, 2, rows); err != nil {
		return err
	}
	return report.Findings(w, c.Findings, style)
}

func amount(c diagnose.Capacity) string {
	switch c.Unit {
	case "1/s":
		return report.Rate(c.Value)
	case "B":
		return fmt.Sprintf("%.3g GiB", c.Value/(1<<30))
	}
	return report.Count(int64(c.Value))
}
