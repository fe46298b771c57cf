package borders

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir, Doc      string
	Module                    struct{ Path string }
	GoFiles, CgoFiles         []string
	IgnoredGoFiles            []string // for other systems: the borders hold there too
	TestGoFiles, XTestGoFiles []string
}

// inspect holds all packages of the module in dir against the house, and returns
// what is wrong.
func inspect(t *testing.T, dir string) (complaints []string) {
	t.Helper()
	walk(t, dir)
	// -e: a module that is not there is the compiler's complaint, and a fixture's right.
	cmd := exec.Command("go", "list", "-e", "-json", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "GOPROXY=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := json.NewDecoder(bytes.NewReader(out))
	for n := 0; ; n++ {
		var p pkg
		err := packages.Decode(&p)
		if errors.Is(err, io.EOF) {
			if n == 0 {
				t.Fatalf("no packages in %s", dir)
			}
			return complaints
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		complaints = append(complaints, p.inspect(t)...)
	}
}

// walk looks at every directory, so that go test sees what this test depends on:
// it cannot see what go list reads, and would find a new package in its cache of
// passed tests.
func walk(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != dir && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pkg) inspect(t *testing.T) (complaints []string) {
	t.Helper()
	name := strings.TrimPrefix(p.ImportPath, p.Module.Path+"/")
	r, floor, ok := find(name)
	if !ok {
		return []string{name + ": no room for this package: give it one in internal/borders/borders_test.go"}
	}
	if p.Doc == "" {
		complaints = append(complaints, name+": no doc comment says what the package is for")
	}
	for _, base := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles) {
		text, err := os.ReadFile(filepath.Join(p.Dir, base))
		if err != nil {
			t.Fatal(err)
		}
		f := &file{
			pkg: name, module: p.Module.Path, room: r, floor: floor,
			name: path.Join(name, base), test: strings.HasSuffix(base, "_test.go"),
		}
		f.inspect(t, text)
		complaints = append(complaints, f.complaints...)
	}
	return complaints
}

// file is one file under inspection.
type file struct {
	pkg        string // below the module
	module     string
	room       room
	floor      int
	name       string // below the module
	test       bool
	positions  *token.FileSet
	complaints []string
}

func (f *file) complain(at token.Pos, format string, args ...any) {
	where := f.name
	if at.IsValid() {
		where += ":" + strconv.Itoa(f.positions.Position(at).Line)
	}
	f.complaints = append(f.complaints, where+": "+fmt.Sprintf(format, args...))
}

func (f *file) inspect(t *testing.T, text []byte) {
	t.Helper()
	limit := maxLines
	if f.test {
		limit = maxTestLines
	}
	if n := bytes.Count(text, []byte{'\n'}); n > limit {
		f.complain(token.NoPos, "%d lines: more than %d are two subjects", n, limit)
	}
	f.positions = token.NewFileSet()
	tree, err := parser.ParseFile(f.positions, f.name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // of imports in this file
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		local := path.Base(imported)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		names[local] = imported
		f.strangers(spec.Pos(), imported)
		if !f.test { // a test may look around in the house
			f.imports(spec.Pos(), imported, local)
		}
	}
	if !f.test {
		f.uses(tree, names)
	}
}

// strangers holds that packages that shall not know each other do not.
func (f *file) strangers(at token.Pos, imported string) {
	there := strings.TrimPrefix(imported, f.module+"/")
	for _, s := range strangers {
		if within(f.pkg, s[0]) && within(there, s[1]) || within(f.pkg, s[1]) && within(there, s[0]) {
			f.complain(at, "imports %s: %s and %s never import each other", imported, s[0], s[1])
		}
	}
}

// imports holds one import against the rights of the room.
func (f *file) imports(at token.Pos, imported, local string) {
	if local == "." {
		f.complain(at, "imports %s with a dot: write the name of the package", imported)
	}
	if name, ours := strings.CutPrefix(imported, f.module+"/"); ours {
		// A package without a room complains for itself.
		switch _, floor, ok := find(name); {
		case ok && floor < f.floor:
			f.complain(at, "imports %s: above, and imports point downwards only", imported)
		case ok && floor == f.floor:
			f.complain(at, "imports %s: next door, and imports point downwards only", imported)
		}
	}
	if f.room.pure && doesIO(imported) {
		f.complain(at, "imports %s: a pure package does no I/O", imported)
	}
	if within(imported, "golang.org/x/sys") && !f.room.unix {
		f.complain(at, "imports %s: only %s make system calls", imported, callers())
	}
}

// doesIO tells whether a package reaches out of the process. Addresses and URLs
// are values.
func doesIO(imported string) bool {
	if imported == "net/netip" || imported == "net/url" {
		return false
	}
	return slices.ContainsFunc([]string{"net", "os", "syscall", "golang.org/x/sys", "golang.org/x/net"},
		func(path string) bool { return within(imported, path) })
}

// terminal is what writes to stdout or stderr, by package. The language's own
// println does so too, and only debugging calls it; print is left out, because a
// view may well have a function of that name.
var terminal = map[string][]string{
	"fmt": {"Print", "Printf", "Println"},
	"os":  {"Stdout", "Stderr"},
	"log": {"Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln",
		"Default", "Output", "Writer"},
	"log/slog": {"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "Default",
		"DebugContext", "InfoContext", "WarnContext", "ErrorContext", "With"},
	"syscall":               {"Stdout", "Stderr"},
	"golang.org/x/sys/unix": {"Stdout", "Stderr"},
}

// clock is what of package time depends on when it is called.
var clock = []string{
	"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
}

// uses holds what a file calls against the rights of the room.
func (f *file) uses(tree *ast.File, names map[string]string) {
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && !f.room.prints && name.Name == "println" {
				f.complain(n.Pos(), "println: stdout and stderr belong to the command")
			}
		case *ast.SelectorExpr:
			of, ok := n.X.(*ast.Ident)
			if !ok {
				return true
			}
			imported := names[of.Name]
			if imported != "" && !f.room.prints && slices.Contains(terminal[imported], n.Sel.Name) {
				f.complain(n.Pos(), "%s.%s: stdout and stderr belong to the command", of.Name, n.Sel.Name)
			}
			if imported == "time" && f.room.pure && slices.Contains(clock, n.Sel.Name) {
				f.complain(n.Pos(), "%s.%s: a pure package is told the time", of.Name, n.Sel.Name)
			}
		}
		return true
	})
}
