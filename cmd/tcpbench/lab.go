package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/internal/probe"
	"tcpbench/internal/values"
	"tcpbench/scenarios"
	"tcpbench/scenarios/file"
)

// labOptions are the flags that make a lab.
type labOptions struct {
	profile, client, server string
	set                     []string
	strict                  bool
	link                    linkOptions
	machine                 machineOptions
}

// machineOptions are the flags that allow a run to change this machine.
type machineOptions struct {
	onHost, yes bool
	host        *machine.Machine // made by machine
}

// machine is this machine; restoring it says on stderr which settings stay as they are.
func (o *machineOptions) machine(c *cobra.Command) *machine.Machine {
	if o.host == nil {
		o.host = machine.This()
		o.host.Kept = func(r machine.Restored) {
			fmt.Fprintf(c.ErrOrStderr(), "%s\n", kept(r))
		}
	}
	return o.host
}

// kept says why a setting was left alone.
func kept(r machine.Restored) string {
	return fmt.Sprintf("%s = %s stays: it was changed by somebody else after the run had set it to %s; it was %s before", r.Key, r.Now, r.Wanted, r.Before)
}

// lastly returns what a second signal does before it ends the run at once: put this machine back
// if it may have been changed, or nil.
func (o *machineOptions) lastly(c *cobra.Command) func() {
	if !o.onHost {
		return nil
	}
	m := o.machine(c)
	return func() {
		if _, err := m.Restore(); err != nil {
			fmt.Fprintf(c.ErrOrStderr(), "tcpbench: %s; tcpbench restore tries again\n", advised(err))
		}
	}
}

func (o *machineOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.onHost, "on-host", false, "during the run, change settings of this machine that no namespace has of its own; asks first, and puts them back (tcpbench restore does if the run is killed)")
	f.BoolVar(&o.yes, "yes", false, "do not ask before --on-host")
}

// allowed asks whether this machine may be changed.
func (o *machineOptions) allowed(c *cobra.Command, keys []string) error {
	if !o.onHost || len(keys) == 0 || o.yes {
		return nil
	}
	what := fmt.Sprintf("--on-host changes settings of this machine, for all that runs on it: %s", strings.Join(keys, ", "))
	in, isFile := c.InOrStdin().(*os.File)
	if !isFile || !term.IsTerminal(int(in.Fd())) {
		return usage("%s: add --yes if that is meant", what)
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s. They are put back at the end. Go on? [y/N] ", what)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err == nil && slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))) {
		return nil
	}
	return usage("nothing was changed")
}

// rooted tells whether this process may change this machine.
func (o *machineOptions) rooted() error {
	if o.onHost && (os.Geteuid() != 0 || probe.Owned()) {
		return cannot("be changed by this user", errors.New("--on-host changes the machine itself, which takes root of the machine"), "run as root, or leave --on-host out")
	}
	if o.yes && !o.onHost {
		return usage("--yes answers the question of --on-host: add that, or leave it out")
	}
	return nil
}

// linkOptions are the impairments of a lab's link.
type linkOptions struct{ toServer, toClient lab.Impairment }

func (o *linkOptions) register(f *pflag.FlagSet) {
	const how = "loss=1%,every=100,drop=syn+ack,rate=100mbit,delay=10ms,jitter=2ms,seed=7: any of these"
	f.Var(values.New(&o.toServer, "", "IMPAIRMENT", lab.ParseImpairment), "to-server", "what becomes of packets to the server: "+how)
	f.Var(values.New(&o.toClient, "", "IMPAIRMENT", lab.ParseImpairment), "to-client", "the same of packets to the client")
}

func (o *linkOptions) both() lab.Link { return lab.Link{ToServer: o.toServer, ToClient: o.toClient} }

func (o *labOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.profile, "profile", machine.KernelDefault, "kernel settings of both hosts: a `PROFILE` of tcpbench profiles, or a file of sysctl.d")
	f.StringVar(&o.client, "client-profile", "", "the client's `PROFILE`, if another")
	f.StringVar(&o.server, "server-profile", "", "the server's `PROFILE`, if another")
	f.StringArrayVar(&o.set, "set", nil, "`KEY=VALUE` on top of both profiles; may be given again")
	f.BoolVar(&o.strict, "strict", false, "refuse to run if a setting is not as its profile says")
	o.link.register(f)
	o.machine.register(f)
	completeProfiles(c)
}

// completeProfiles offers the profiles that come with the program, and files.
func completeProfiles(c *cobra.Command) {
	for _, name := range []string{"profile", "client-profile", "server-profile"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(machine.Profiles(), cobra.ShellCompDirectiveDefault))
	}
}

// profiles reads those of the two hosts.
func (o *labOptions) profiles() (client, server *machine.Profile, err error) {
	of := func(flag, name string) (*machine.Profile, error) {
		if name == "" {
			flag, name = "profile", o.profile
		}
		return loadProfile(flag, name, o.set)
	}
	if client, err = of("client-profile", o.client); err != nil {
		return nil, nil, err
	}
	server, err = of("server-profile", o.server)
	return client, server, err
}

// loadProfile reads the profile that a flag names, with the settings of --set on top.
func loadProfile(flag, name string, set []string) (*machine.Profile, error) {
	p, err := machine.Load(name)
	if err != nil {
		return nil, usage("--%s: %w", flag, err)
	}
	for _, text := range set {
		s, err := parseSetting("set "+text, text)
		if err != nil {
			return nil, err
		}
		p.Set(s)
	}
	if len(set) > 0 {
		p.Name += " with " + strings.Join(set, ", ")
	}
	return p, nil
}

// parseSetting reads KEY=VALUE; said is the flag and its value, for errors.
func parseSetting(said, text string) (machine.Setting, error) {
	s, err := machine.ParseSetting(text)
	if err != nil {
		return s, usage("--%s: %w", said, err)
	}
	if near := machine.NearKey(s.Key); near != "" {
		return s, usage("--%s: this kernel has no %s: did you mean %s?", said, s.Key, near)
	}
	return s, nil
}

// lab is what the flags ask of the run's labs.
func (o *labOptions) lab(c *cobra.Command) (*scenarios.Lab, error) {
	if err := o.machine.rooted(); err != nil {
		return nil, err
	}
	client, server, err := o.profiles()
	if err != nil {
		return nil, err
	}
	l := &scenarios.Lab{Link: o.link.both(), Client: client, Server: server, Strict: o.strict}
	if o.machine.onHost {
		l.Machine = o.machine.machine(c)
		l.Allow = func(keys []string) error { return o.machine.allowed(c, keys) }
	}
	return l, nil
}

func newLab(line []string) *cobra.Command {
	c := aboutScenarios(&cobra.Command{
		Use:   "lab SCENARIO|FILE.yaml",
		Short: "Run a scenario between two private hosts, with kernel settings of their own",
		Long: `Run a scenario in a lab: a client and a server in network namespaces of their own, with a link
between them and the kernel settings of a profile. The host is not changed, whatever the profile
says, unless you give --on-host; and nothing of the lab remains, however the run ends.

It needs no root if the kernel allows user namespaces. The flags are those of tcpbench
run; the server is always the run's own.`,
		Example: `  tcpbench lab short
  tcpbench lab short --profile time-wait --sources 198.18.0.1
  tcpbench lab short --server-profile /etc/sysctl.d/99-mine.conf --strict
  tcpbench lab short --to-client delay=20ms,jitter=5ms --to-server loss=1%
  tcpbench lab syn-burst --set net.core.somaxconn=128
  tcpbench lab shell client`,
	}, line, "or name a file, or: lab shell", func(c *cobra.Command, s *scenarios.Scenario) func(*scenarios.Scenario) error {
		l := &labOptions{}
		l.register(c)
		o := newRunOptions(c, s, l)
		return func(s *scenarios.Scenario) error { return o.execute(c, s) }
	})
	c.AddCommand(newLabShell())
	return c
}

// requires tells what a run in a lab needs; nil is no scenario.
func (o *labOptions) requires(s *scenarios.Scenario) file.Requirements {
	r := file.Requirements{}
	if s != nil {
		r = s.Requires()
	}
	r.Lab, r.Link = true, r.Link || file.Carried(o.link.both())
	return r
}

// inOwnUsers asks whether this machine can make the lab of a run, and makes it possible without
// root, by running this command again. done tells that the command is over.
func inOwnUsers(c *cobra.Command, s *scenarios.Scenario, r file.Requirements) (err error, done bool) {
	if !probe.Owned() { // else the process that made the users has asked
		if here, why := scenarios.ThisMachine().Here(r); here != file.Runs {
			return cannot("make the lab of this run", why, why.Lift), true
		}
	}
	return ownUsers(c, s)
}

// ownUsers runs this command again as root of users of its own, if it needs that for labs. A
// scenario that was read from stdin is handed on; nil is none.
func ownUsers(c *cobra.Command, s *scenarios.Scenario) (err error, done bool) {
	in := c.InOrStdin()
	if s != nil && c.Flags().Arg(0) == "-" {
		in = bytes.NewReader(s.Text)
	}
	code, done, err := probe.Own(in, c.OutOrStdout(), c.ErrOrStderr())
	switch {
	case err != nil:
		return failure(err), true
	case done && code == 0:
		return nil, true
	case done:
		return exit{code, nil}, true
	}
	return nil, false
}
