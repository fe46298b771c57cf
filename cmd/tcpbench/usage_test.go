package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

// Words that a flag takes are offered by completion.
func TestCompletionOffersTheWordsOfAFlag(t *testing.T) {
	c, _, err := newRoot().Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range flagNames(c) {
		kind := c.Flags().Lookup(name).Value.Type()
		if !strings.Contains(kind, "|") {
			continue
		}
		complete, ok := c.GetFlagCompletionFunc(name)
		if !ok {
			t.Errorf("--%s: no completion for %s", name, kind)
			continue
		}
		offered, _ := complete(c, nil, "")
		for word := range strings.SplitSeq(kind, "|") {
			if word, _, _ = strings.Cut(word, ":"); word == strings.ToUpper(word) {
				continue // REGEXP
			}
			if !strings.Contains(strings.Join(offered, " "), word) {
				t.Errorf("--%s: %q does not offer %q", name, offered, word)
			}
		}
	}
}

// Every example of the help is a command line that is understood.
func TestExamplesAreUnderstood(t *testing.T) {
	root := newRoot()
	for _, c := range append(root.Commands(), root) {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(strings.ReplaceAll(c.Example, "\\\n", "")) {
			understood(t, line)
		}
	}
}

func understood(t *testing.T, example string) {
	t.Helper()
	example, _, _ = strings.Cut(strings.Replace(example, " > ", " | ", 1), " | ")
	// Behind a wide gap stands what the example is for.
	args := words(regexp.MustCompile(`\b  +[a-z].*`).ReplaceAllString(example, ""), "")
	if len(args) < 2 || args[0] != "tcpbench" {
		t.Errorf("%q is no command line", example)
		return
	}
	c, rest, err := newRoot().Find(args[1:])
	if err != nil {
		t.Errorf("%q: %v", example, err)
		return
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", example, err)
		return
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		t.Errorf("%q: %v", example, err)
	}
}

// words splits a command line at spaces, except in quotes.
func words(line, dir string) (args []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|\S+`).FindAllStringSubmatch(line, -1) {
		word := m[0]
		if strings.HasPrefix(word, "'") {
			word = m[1]
		}
		args = append(args, strings.ReplaceAll(word, "$DIR", dir))
	}
	return args
}

func TestNearestFlag(t *testing.T) {
	c, _, err := newRoot("run", "short").Find([]string{"run", "short"})
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{
		"raet": " (did you mean --rate?)", "conections": " (did you mean --connections?)",
		"closehow": " (did you mean --close-how?)", "port": " (did you mean --ports?)", "xyzzyx": "",
	} {
		if got := nearest(c, errors.New("unknown flag: --"+typed)); got != want {
			t.Errorf("nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}
