package main

import (
	"fmt"
	"strings"

	"tcpbench/internal/machine"
	"tcpbench/scenarios"
)

// Names of arms stand in a heading by letters.
const mostArms = 26

// arms are the sides of the comparison.
func (o *compareOptions) arms() ([]scenarios.Arm, error) {
	var arms []scenarios.Arm
	var err error
	switch {
	case o.vary != "" && o.ablate:
		return nil, usage("--vary and --ablate: give one of them")
	case o.vary != "":
		arms, err = o.varied()
	default:
		arms, err = o.named()
		if err == nil && o.ablate {
			arms, err = ablated(arms)
		}
	}
	named := map[string]int{}
	for i := range arms {
		arms[i].Link = o.link.both()
		// A profile may be compared with itself; what is saved must not be overwritten.
		named[arms[i].Name]++
		if n := named[arms[i].Name]; n > 1 {
			arms[i].Name = fmt.Sprintf("%s (%d)", arms[i].Name, n)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case len(arms) < 2:
		return nil, usage("compare: with what? Give two --profile, or --vary KEY=V1,V2, or --ablate; tcpbench profiles lists those that come with the program")
	case len(arms) > mostArms:
		return nil, usage("compare: %d sides are too many: at most %d", len(arms), mostArms)
	}
	return arms, nil
}

// named are the arms of profiles. A flag that is given once is for all sides.
func (o *compareOptions) named() (arms []scenarios.Arm, err error) {
	n := max(len(o.profiles), len(o.clients), len(o.servers))
	pick := func(flag string, list []string, i int) (*machine.Profile, string, error) {
		if len(list) == 0 {
			flag, list = "profile", o.profiles
		}
		name := machine.KernelDefault
		switch {
		case len(list) > 1 && len(list) != n:
			return nil, "", usage("--%s: %d of them for %d sides: give one for each, or one for all", flag, len(list), n)
		case len(list) == 1:
			name = list[0]
		case i < len(list):
			name = list[i]
		}
		p, err := loadProfile(flag, name, o.set)
		return p, name, err
	}
	for i := range n {
		client, clientName, err := pick("client-profile", o.clients, i)
		if err != nil {
			return nil, err
		}
		server, serverName, err := pick("server-profile", o.servers, i)
		if err != nil {
			return nil, err
		}
		name := clientName
		if clientName != serverName {
			name = "client " + clientName + ", server " + serverName
		}
		arms = append(arms, scenarios.Arm{Name: name, Client: client, Server: server})
	}
	return arms, nil
}

// varied are the arms of one setting in several values.
func (o *compareOptions) varied() ([]scenarios.Arm, error) {
	if max(len(o.profiles), len(o.clients), len(o.servers)) > 1 {
		return nil, usage("--vary takes one profile to start from")
	}
	key, list, ok := strings.Cut(o.vary, "=")
	if !ok || !strings.Contains(list, ",") {
		return nil, usage("--vary %q: want KEY=V1,V2,…, as in net.ipv4.tcp_timestamps=0,1", o.vary)
	}
	base := o.profiles
	if len(base) == 0 && len(o.clients) == 0 && len(o.servers) == 0 {
		base = []string{machine.KernelDefault}
	}
	var arms []scenarios.Arm
	for value := range strings.SplitSeq(list, ",") {
		start := *o
		start.profiles = base
		made, err := start.named()
		if err != nil {
			return nil, err
		}
		setting, err := parseSetting(fmt.Sprintf("vary %q", o.vary), key+"="+value)
		if err != nil {
			return nil, err
		}
		arm := made[0]
		arm.Client.Set(setting)
		arm.Server.Set(setting)
		arm.Name = setting.Key + " = " + setting.Value
		arms = append(arms, arm)
	}
	return arms, nil
}

// ablated are a profile, and the profile without each of its lines.
func ablated(arms []scenarios.Arm) ([]scenarios.Arm, error) {
	if len(arms) != 1 {
		return nil, usage("--ablate takes one profile apart: give one --profile")
	}
	whole := arms[0]
	seen := map[string]bool{}
	for _, p := range []*machine.Profile{whole.Client, whole.Server} {
		for _, s := range p.Settings {
			if seen[s.Key] {
				continue
			}
			seen[s.Key] = true
			arms = append(arms, scenarios.Arm{Name: "without " + s.Key, Client: whole.Client.Without(s.Key), Server: whole.Server.Without(s.Key), Ablated: true})
		}
	}
	return arms, nil
}
