package scenarios

import (
	"slices"
	"strings"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// Phenomenon is what a scenario claims of TCP: where it is to be seen, which evidence
// decides, and what it means for those who run servers.
type Phenomenon struct {
	Claim      string
	Production string
	// Takes is about how long the run is.
	Takes time.Duration
	// Link and the settings are those of the lab in which it is shown.
	Link           lab.Link
	Client, Server []lab.Setting

	verdict []*Expectation
}

// Judge says whether the result has shown the claim.
func (p *Phenomenon) Judge(r *metrics.Result) *metrics.Verdict {
	v := &metrics.Verdict{Claim: p.Claim, Production: p.Production, Reproduced: true, Evidence: judgeAll(p.verdict, r)}
	for _, e := range v.Evidence {
		v.Reproduced = v.Reproduced && e.Pass
	}
	return v
}

// Needs are what a machine must have for it, besides namespaces.
func (p *Phenomenon) Needs() string {
	if p.Link.ToServer.Filters() || p.Link.ToClient.Filters() {
		return "lab, nftables"
	}
	return "lab"
}

// under is a profile on top of a scenario's own settings, from which it may so take the
// mechanism.
func under(own []lab.Setting, profile *lab.Profile) *lab.Profile {
	if len(own) == 0 {
		return profile
	}
	whole := &lab.Profile{Name: "the scenario's own"}
	if profile.Name != lab.KernelDefault {
		whole.Name += ", " + profile.Name
	}
	for _, s := range slices.Concat(own, profile.Settings) {
		whole.Set(s)
	}
	return whole
}

// Profiles are what the hosts of the lab are given where these are asked for. Nil is a
// scenario that claims nothing, and has no settings of its own.
func (p *Phenomenon) Profiles(client, server *lab.Profile) (*lab.Profile, *lab.Profile) {
	if p == nil {
		return client, server
	}
	return under(p.Client, client), under(p.Server, server)
}

// LinkUnder is the scenario's link, but for the directions that another says something of.
func (p *Phenomenon) LinkUnder(other lab.Link) lab.Link {
	if p == nil {
		return other
	}
	link := p.Link
	if other.ToServer.String() != "" {
		link.ToServer = other.ToServer
	}
	if other.ToClient.String() != "" {
		link.ToClient = other.ToClient
	}
	return link
}

// phenomenonKeys are those of a file that claims something; all of them must be there but
// for the lab's.
var phenomenonKeys = []string{"claim", "lab", "takes", "verdict", "production"}

// readPhenomenon takes the keys of a claim, if the file makes one.
func (s *Scenario) readPhenomenon(root mapping) error {
	claimed := slices.ContainsFunc(root.keys, func(key string) bool { return slices.Contains(phenomenonKeys, key) })
	if !claimed {
		return nil
	}
	p := &Phenomenon{}
	for key, to := range map[string]*string{"claim": &p.Claim, "production": &p.Production} {
		text, err := root.text(key)
		if err != nil {
			return err
		}
		if *to = strings.Join(strings.Fields(text), " "); *to == "" {
			return root.errorf("a scenario with a verdict has a claim and what it means in production: add %s", key)
		}
	}
	takes, err := root.text("takes")
	if err != nil {
		return err
	}
	if p.Takes, err = time.ParseDuration(takes); err != nil || p.Takes <= 0 {
		return root.errorAt("takes", "%q: want about how long it takes, as in 4s", takes)
	}
	if p.verdict, err = expectationsOf(root, "verdict"); err != nil {
		return err
	}
	if len(p.verdict) == 0 {
		return root.errorf("a claim without a verdict: add expressions that decide, as in verdict: [failed > 0]")
	}
	if err := p.readLab(root); err != nil {
		return err
	}
	s.Phenomenon = p
	return nil
}

func (p *Phenomenon) readLab(root mapping) error {
	n, ok := root.find("lab")
	if !ok {
		return nil
	}
	m, err := n.mapping("settings of the hosts, and what becomes of packets between them")
	if err != nil {
		return err
	}
	if err := m.only("settings", "client", "server", "to-server", "to-client"); err != nil {
		return err
	}
	for key, to := range map[string][]*[]lab.Setting{"settings": {&p.Client, &p.Server}, "client": {&p.Client}, "server": {&p.Server}} {
		settings, err := sysctls(m, key)
		if err != nil {
			return err
		}
		for _, list := range to {
			*list = append(*list, settings...)
		}
	}
	for key, to := range map[string]*lab.Impairment{"to-server": &p.Link.ToServer, "to-client": &p.Link.ToClient} {
		text, err := m.text(key)
		if err != nil {
			return err
		}
		if _, ok := m.find(key); !ok {
			continue
		}
		if *to, err = lab.ParseImpairment(text); err != nil {
			return m.errorAt(key, "%v", err)
		}
	}
	return nil
}

// sysctls reads a mapping of kernel settings.
func sysctls(m mapping, key string) (all []lab.Setting, err error) {
	n, ok := m.find(key)
	if !ok {
		return nil, nil
	}
	inner, err := n.mapping("kernel settings, as in net.ipv4.tcp_tw_reuse: 0")
	if err != nil {
		return nil, err
	}
	for _, name := range inner.keys {
		value, err := inner.text(name)
		if err != nil {
			return nil, err
		}
		s, err := lab.ParseSetting(name + " = " + value)
		if err != nil {
			return nil, inner.errorAt(name, "%v", err)
		}
		all = append(all, s)
	}
	return all, nil
}
