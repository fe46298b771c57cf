package file

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"tcpbench/internal/values"
	"tcpbench/scenarios/workload"
)

// position is a place in a file, from 1.
type position struct{ line, column int }

// node is a value in a YAML file, and knows where it stands. Of YAML only what a
// scenario needs is taken: mappings, lists and scalars, written out.
type node struct {
	file  string
	at    position
	value ast.Node
	plain bool // a scalar without quotes
}

// mapping is a node with keys, each of which stands in it once.
type mapping struct {
	node
	keys   []string
	places map[string]position
	values map[string]node
}

// deepest is how far a scenario may nest: more needs no reading to be refused.
const deepest = 16

// parseYAML reads one document that is a mapping.
func parseYAML(name string, text []byte) (m mapping, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: cannot be read as YAML: %v", name, p)
		}
	}()
	root := node{file: name, at: position{1, 1}}
	if depth := nesting(text); depth > deepest {
		return m, root.errorf("brackets %d deep: a scenario needs none", depth)
	}
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			root.at = positionOf(syntax.Token)
			return m, root.errorf("%s", syntax.Message)
		}
		return m, root.errorf("%v", err)
	}
	var bodies []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			bodies = append(bodies, d.Body)
		}
	}
	const wanted = "a scenario has name, run and so on, as in name: my-scenario; tcpbench show short prints one"
	switch {
	case len(bodies) == 0:
		return m, root.errorf("it is empty: %s", wanted)
	case len(bodies) > 1:
		root.at = positionOf(bodies[1].GetToken())
		return m, root.errorf("a second document: put each scenario into a file of its own")
	}
	return root.of(bodies[0]).mapping(wanted)
}

// nesting is the largest number of brackets open at once.
func nesting(text []byte) int {
	depth, most := 0, 0
	for _, b := range text {
		switch b {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth--
		}
	}
	return most
}

func positionOf(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{t.Position.Line, t.Position.Column}
}

// of is another node of the same file.
func (n node) of(value ast.Node) node {
	child := node{file: n.file, value: value, at: n.at}
	if value != nil {
		child.at = positionOf(value.GetToken())
	}
	// A mapping begins at its first key, and not at the colon behind that.
	switch v := value.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			child.at = positionOf(v.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		child.at = positionOf(v.Key.GetToken())
	}
	return child
}

func (n node) errorf(format string, args ...any) error { return n.errorfAt(n.at, format, args...) }

func (n node) errorfAt(at position, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: "+format, append([]any{n.file, at.line, at.column}, args...)...)
}

// mapping reads the node as one; wanted tells what stands there.
func (n node) mapping(wanted string) (mapping, error) {
	m := mapping{node: n, places: map[string]position{}, values: map[string]node{}}
	var entries []*ast.MappingValueNode
	switch v := n.value.(type) {
	case *ast.MappingNode:
		entries = v.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{v}
	default:
		return m, n.errorf("%s: want %s", n.what(), wanted)
	}
	for _, e := range entries {
		key := n.of(e.Key)
		name, err := key.text()
		if err != nil {
			return m, err
		}
		if _, twice := m.values[name]; twice {
			return m, key.errorf("%s stands here a second time: keep one of them", name)
		}
		m.keys = append(m.keys, name)
		m.places[name] = key.at
		m.values[name] = n.of(e.Value)
	}
	return m, nil
}

// what names the kind of a node.
func (n node) what() string {
	switch n.value.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor, which scenarios do not have"
	case *ast.TagNode:
		return "a tag, which scenarios do not have"
	}
	return "a single value"
}

// text reads the node as a scalar, as it is written: 010 and 1e3 are for the flag that
// gets them to understand.
func (n node) text() (string, error) {
	switch v := n.value.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case *ast.LiteralNode:
		return v.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, nil
	}
	return "", n.errorf("%s: want a single value", n.what())
}

// only refuses keys that are none of these.
func (m mapping) only(known ...string) error {
	for _, key := range m.keys {
		if slices.Contains(known, key) {
			continue
		}
		if near := values.Nearest(key, known); near != "" {
			return m.errorAtKey(key, "unknown key %q: did you mean %s?", key, near)
		}
		return m.errorAtKey(key, "unknown key %q: there are %s", key, strings.Join(known, ", "))
	}
	return nil
}

func (m mapping) find(key string) (node, bool) {
	n, ok := m.values[key]
	return n, ok
}

func (m mapping) errorAtKey(key, format string, args ...any) error {
	return m.errorfAt(m.places[key], format, args...)
}

// errorAt is an error about the value of a key.
func (m mapping) errorAt(key, format string, args ...any) error {
	return m.values[key].errorf(format, args...)
}

// text reads the value of a key that may be missing.
func (m mapping) text(key string) (string, error) {
	n, ok := m.find(key)
	if !ok {
		return "", nil
	}
	return n.text()
}

// list reads the value of a key that may be missing, or be a single item.
func (m mapping) list(key string) ([]node, error) {
	n, ok := m.find(key)
	if !ok {
		return nil, nil
	}
	sequence, ok := n.value.(*ast.SequenceNode)
	if !ok {
		return nil, n.errorf("%s: want a list, as in - …", n.what())
	}
	var items []node
	for _, v := range sequence.Values {
		item := n.of(v)
		if s, ok := v.(*ast.StringNode); ok {
			item.plain = s.GetToken().Type == token.StringType
		}
		items = append(items, item)
	}
	return items, nil
}

// texts reads a list of sentences.
func (m mapping) texts(key string) (all []string, err error) {
	items, err := m.list(key)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		text, err := item.text()
		if err != nil {
			return nil, err
		}
		all = append(all, strings.Join(strings.Fields(text), " "))
	}
	return all, nil
}

// settings reads the mapping as flags, besides some keys that are something else. A list
// of values is written with commas, as flags have it.
func (m mapping) settings(besides ...string) ([]Setting, error) {
	known := append(workload.Names(), besides...)
	var all []Setting
	for _, key := range m.keys {
		if slices.Contains(besides, key) {
			continue
		}
		if err := m.known(key, known); err != nil {
			return nil, err
		}
		n := m.values[key]
		items := []node{n}
		if _, ok := n.value.(*ast.SequenceNode); ok {
			items, _ = m.list(key)
			if key == "payload" { // in which a comma is a comma
				return nil, m.errorAt(key, "one text: several requests have \\| between them, or stand in the lines of a payload-file, with payload-lines: true")
			}
		}
		var words []string
		for _, item := range items {
			word, err := item.text()
			if err != nil {
				return nil, err
			}
			words = append(words, word)
		}
		all = append(all, Setting{Setting: workload.Setting{Name: key, Value: strings.Join(words, ",")}, key: m.places[key], at: n.at})
	}
	return all, nil
}

// presented are flags of run that decide what is shown, which a file does not.
var presented = []string{"out", "format", "quiet", "expect"}

func (m mapping) known(key string, known []string) error {
	switch {
	case slices.Contains(known, key):
		return nil
	case slices.Contains(presented, key):
		return m.errorAtKey(key, "%s is for the command line: a scenario says what is run, and not what is shown of it", key)
	case strings.HasPrefix(key, "-"):
		return m.errorAtKey(key, "flags stand here without their dashes: %s", strings.TrimLeft(key, "-"))
	}
	if near := values.Nearest(strings.ReplaceAll(key, "_", "-"), known); near != "" {
		return m.errorAtKey(key, "unknown flag %q: did you mean %s?", key, near)
	}
	return m.errorAtKey(key, "unknown flag %q: tcpbench run short --help lists them", key)
}
