package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpbench/internal/machine"
	"tcpbench/internal/values"
	"tcpbench/scenarios"
)

// nearest suggests the flag that an unknown one may have meant, as " (did you mean
// --rate?)", or nothing.
func nearest(c *cobra.Command, err error) string {
	_, name, ok := strings.Cut(err.Error(), "unknown flag: --")
	if !ok {
		return ""
	}
	if best := values.Nearest(name, flagsOf(c)); best != "" {
		return " (did you mean --" + best + "?)"
	}
	if run, _, err := c.Root().Find([]string{"run"}); err == nil && !c.HasParent() && slices.Contains(flagsOf(run), name) {
		return " (it is one of tcpbench run SCENARIO)"
	}
	return ""
}

func flagsOf(c *cobra.Command) (known []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	return known
}

// mistaken says what a command line may have meant whose first word is no command; nil is
// one that begins with a command, or a flag.
func mistaken(root *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "" || args[0][0] == '-' {
		return nil
	}
	commands := []string{"help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}
	for _, c := range root.Commands() {
		commands = append(commands, c.Name())
	}
	word, rest := args[0], args[1:]
	if slices.Contains(commands, word) {
		return nil
	}
	if target, ok := targetIn(word); ok {
		return usage("%s", asTarget(target))
	}
	names := scenarios.Names
	line := func(words ...string) string { return shell(slices.Concat([]string{"tcpbench"}, words, rest)) }
	switch near := values.Nearest(word, slices.Concat(commands, names)); {
	case slices.Contains(names, word):
		return usage("%s is a scenario: did you mean %s?", word, line("run", word))
	case strings.HasSuffix(word, ".yaml") || strings.HasSuffix(word, ".yml"):
		return usage("%s is a scenario file: did you mean %s?", word, line("run", word))
	case slices.Contains(names, near):
		return usage("unknown command %q: did you mean %s?", word, line("run", near))
	case near != "":
		if len(rest) > 0 && !slices.Contains(names, rest[0]) {
			if scenario := values.Nearest(rest[0], names); scenario != "" {
				rest = slices.Concat([]string{scenario}, rest[1:])
			}
		}
		return usage("unknown command %q: did you mean %s?", word, line(near))
	case slices.Contains(machine.Profiles(), word):
		return usage("%s is a profile of kernel settings: did you mean %s?", word, line("lab", "short", "--profile", word))
	}
	return usage("unknown command %q: there are %s", word, strings.Join(commands[4:], ", "))
}

// shell writes a command line as a shell reads it.
func shell(args []string) string {
	quoted := slices.Clone(args)
	for i, a := range quoted {
		if a == "" || strings.ContainsAny(a, " \t\n\\'\"$&|;<>()*?[]#~`!{}") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// targetIn returns the HOST:PORT that a word is, or a URL has, unless it is a file.
func targetIn(word string) (target string, ok bool) {
	if _, err := os.Stat(word); err == nil {
		return "", false
	}
	if u, err := url.Parse(word); err == nil && u.Host != "" {
		word = u.Host
		if u.Port() == "" {
			word = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443"}[u.Scheme])
			if u.Scheme == "http" {
				word += "80"
			}
		}
	}
	host, port, err := net.SplitHostPort(word)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		return "", false
	}
	return word, true
}

// asTarget says how a target is loaded.
func asTarget(target string) string {
	run := "tcpbench run short --target " + shell([]string{target})
	return fmt.Sprintf(`%s is a target, and a run needs a scenario: %s for a tcpbench server; for any other add --payload TEXT --until REGEXP, or --connect-only`, target, run)
}
