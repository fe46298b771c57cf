package file

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// position is a place in a file, from 1.
type position struct{ line, column int }

// node is a value in a YAML file, and knows where it stands. Of YAML scenarios have mappings, lists
// and scalars, and neither anchors nor tags.
type node struct {
	file  string
	at    position
	value ast.Node
}

// mapping is a node with keys, in their order. None stands in it twice.
type mapping struct {
	node
	keys   []string
	places map[string]position
	values map[string]node
}

// deepest is how far brackets may nest. A file with more is refused before it is parsed.
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
	// A mapping begins at its first key, and not at the colon after it.
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

// plain tells whether the node is a scalar without quotes.
func (n node) plain() bool {
	s, ok := n.value.(*ast.StringNode)
	return ok && s.GetToken().Type == token.StringType
}

// place is where the node stands, as errors begin.
func (n node) place() string { return fmt.Sprintf("%s:%d:%d", n.file, n.at.line, n.at.column) }

func (n node) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{n.place()}, args...)...)
}

func (m mapping) errorAtKey(key, format string, args ...any) error {
	m.at = m.places[key]
	return m.errorf(format, args...)
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

// text reads the node as a scalar, as it is written: the flag that gets 010 or 1e3 parses it.
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
