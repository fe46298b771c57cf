// Package expect reads expressions over the numbers of a result, such as connect.p99 < 5ms, and
// evaluates them.
package expect

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"tcpbench/metrics"
)

// Expression is a condition that a result must meet: arithmetic and comparisons of quantities, with
// units, as in connect.p99 < 5ms && rate > 10k.
type Expression struct {
	text       string
	program    *vm.Program
	quantities []metrics.Quantity
	constants  map[string]any // durations, by the name that replaces each
}

// An Error says what is wrong with an expression, and in which column.
type Error struct {
	Column int // from 1, in characters
	text   string
}

func (e Error) Error() string { return e.text }

const (
	longestExpression = 1000
	mostNodes         = 200
)

// Parse compiles an expression and checks its names and units, so that a mistake is found before a
// run. A name may begin with one of the phases: peak.rate. An error is of type Error.
func Parse(text string, phases ...string) (*Expression, error) {
	if len(text) > longestExpression {
		return nil, Error{1, fmt.Sprintf("%d bytes long: want %d at most", len(text), longestExpression)}
	}
	e := &Expression{text: text, constants: map[string]any{}}
	s := scanner{expression: e, names: map[string]string{}, phases: phases}
	if err := s.scan(text); err != nil {
		return nil, err
	}
	environment := map[string]any{flaggedFunction: func(string) bool { return false }, foundFunction: func(string) bool { return false }}
	for i, q := range e.quantities {
		environment[variableName(i)] = float64(0)
		if q.Unit == metrics.Text {
			environment[variableName(i)] = ""
		}
	}
	maps.Copy(environment, e.constants)
	program, err := compile(s.out.String(), environment)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			return nil, Error{s.original(at.Column), s.readable(at.Message)}
		}
		return nil, Error{1, s.readable(err.Error())}
	}
	c := checker{expression: e, original: s.original}
	if _, err := c.check(program.Node()); err != nil {
		return nil, err
	}
	e.program = program
	return e, nil
}

// compile turns a panic of the compiler into an error.
func compile(text string, environment map[string]any) (p *vm.Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("cannot be understood: %v", r)
		}
	}()
	return expr.Compile(text, expr.Env(environment), expr.AsBool(), expr.Optimize(false),
		expr.DisableAllBuiltins(), expr.EnableBuiltin("min"), expr.EnableBuiltin("max"), expr.EnableBuiltin("abs"),
		expr.MaxNodes(mostNodes))
}

// String is the expression as it was written.
func (e *Expression) String() string { return e.text }

// Judge evaluates the expression. It fails if a quantity has no sample.
func (e *Expression) Judge(r *metrics.Result) metrics.Expectation {
	verdict := metrics.Expectation{Expression: e.text, Values: []metrics.Value{}}
	environment := map[string]any{flaggedFunction: r.Flagged, foundFunction: r.Found}
	maps.Copy(environment, e.constants)
	var absent []string
	for i, q := range e.quantities {
		measured, ok := q.Value(r)
		if !ok {
			absent = append(absent, q.Name)
			continue
		}
		verdict.Values = append(verdict.Values, measured)
		environment[variableName(i)] = measured.Value
		if q.Unit == metrics.Text {
			environment[variableName(i)] = measured.Text
		}
	}
	if len(absent) > 0 {
		verdict.Reason = "no sample: " + strings.Join(absent, ", ")
		return verdict
	}
	result, err := expr.Run(e.program, environment)
	if err != nil {
		verdict.Reason = err.Error()
		return verdict
	}
	verdict.Pass, _ = result.(bool)
	return verdict
}

// JudgeAll evaluates each expression.
func JudgeAll(all []*Expression, r *metrics.Result) (verdicts []metrics.Expectation) {
	for _, e := range all {
		verdicts = append(verdicts, e.Judge(r))
	}
	return verdicts
}

// kind is the kind of value of a part of an expression.
type kind string

const (
	truth    kind = "a truth value"
	number   kind = "a number"
	duration kind = "a duration"
	literal  kind = "a number without a unit" // right for a count, wrong for a time
	words    kind = "a text"
)

// checker accepts arithmetic and comparisons, and refuses to compare times with counts.
type checker struct {
	expression *Expression
	original   func(column int) int
}

func (c *checker) refuse(n ast.Node, format string, args ...any) error {
	return Error{c.original(n.Location().From), fmt.Sprintf(format, args...)}
}

func (c *checker) check(n ast.Node) (kind, error) {
	switch n := n.(type) {
	case *ast.BoolNode:
		return truth, nil
	case *ast.IntegerNode:
		if n.Value == 0 {
			return number, nil
		}
		return literal, nil
	case *ast.FloatNode:
		return literal, nil
	case *ast.StringNode:
		return words, nil
	case *ast.IdentifierNode:
		return c.kindOf(n)
	case *ast.UnaryNode:
		if n.Operator == "+" || n.Operator == "-" || n.Operator == "!" || n.Operator == "not" {
			return c.check(n.Node)
		}
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		if _, err := c.check(n.Cond); err != nil {
			return "", err
		}
		return c.same(n, n.Exp1, n.Exp2)
	case *ast.BuiltinNode:
		if len(n.Arguments) == 1 {
			return c.check(n.Arguments[0])
		}
		return c.same(n, n.Arguments...)
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok && (callee.Value == flaggedFunction || callee.Value == foundFunction) {
			return truth, nil
		}
	}
	return "", c.refuse(n, "an expectation has only arithmetic and comparisons of quantities, as in connect.p99 < 5ms, or flagged(\"client-limited\")")
}

func (c *checker) kindOf(n *ast.IdentifierNode) (kind, error) {
	if _, ok := c.expression.constants[n.Value]; ok {
		return duration, nil
	}
	var i int
	if _, err := fmt.Sscanf(n.Value, variablePrefix+"%d", &i); err != nil || i >= len(c.expression.quantities) {
		return "", c.refuse(n, "unknown name %q", n.Value)
	}
	switch c.expression.quantities[i].Unit {
	case metrics.Nanoseconds:
		return duration, nil
	case metrics.Text:
		return words, nil
	}
	return number, nil
}

func (c *checker) binary(n *ast.BinaryNode) (kind, error) {
	switch n.Operator {
	case "and", "or", "&&", "||", "==", "!=", "<", "<=", ">", ">=":
		_, err := c.same(n, n.Left, n.Right)
		return truth, err
	case "+", "-":
		return c.same(n, n.Left, n.Right)
	case "*", "/":
		left, err := c.check(n.Left)
		if err != nil {
			return "", err
		}
		right, err := c.check(n.Right)
		switch {
		case err != nil:
			return "", err
		case left == duration && right == duration:
			return number, nil
		case left == duration || right == duration:
			return duration, nil
		}
		return number, nil
	}
	return "", c.refuse(n, "operator %s: want + - * / == != < <= > >= and or not", n.Operator)
}

// same checks that all operands are of one kind, and returns it.
func (c *checker) same(n ast.Node, operands ...ast.Node) (kind, error) {
	var first kind
	for _, operand := range operands {
		k, err := c.check(operand)
		switch {
		case err != nil:
			return "", err
		case first == "" || first == k:
			first = k
		case first == literal && k == number || first == number && k == literal:
			first = number
		case (first == number || k == number) && (isZero(operand) || isZero(operands[0])):
			if first == number {
				first = k
			}
		case first == duration && k == literal || first == literal && k == duration:
			return "", c.refuse(operand, "a time has a unit, as in 5ms, 200us or 1.5s")
		default:
			return "", c.refuse(operand, "%s and %s cannot be compared", first, k)
		}
	}
	return first, nil
}

// isZero tells whether a node is 0, which needs no unit.
func isZero(n ast.Node) bool {
	i, ok := n.(*ast.IntegerNode)
	return ok && i.Value == 0
}
