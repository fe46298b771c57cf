// Command architecture draws docs/architecture.svg: the packages of tcpbench, and an arrow from
// each to those that it imports. An arrow is left out if a longer way of arrows leads there.
//
//	go run ./scripts/architecture
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	module = "tcpbench/"
	target = "docs/architecture.svg"
)

func main() {
	packages, err := imports(".")
	if err == nil {
		err = os.WriteFile(target, draw(packages), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "architecture:", err)
		os.Exit(1)
	}
}

// imports lists what each package of the program imports of the module, without the module's name.
func imports(dir string) (map[string][]string, error) {
	const format = `{{if and .Module .Module.Main}}{{.ImportPath}} {{join .Imports " "}}{{end}}`
	c := exec.Command("go", "list", "-deps", "-f", format, "./cmd/tcpbench")
	c.Dir, c.Env = filepath.Clean(dir), append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	var complaint bytes.Buffer
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, &complaint)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		own := []string{}
		for _, path := range words[1:] {
			if name, ok := strings.CutPrefix(path, module); ok {
				own = append(own, name)
			}
		}
		all[strings.TrimPrefix(words[0], module)] = own
	}
	return all, nil
}

// reach adds to seen all packages that from leads to.
func reach(imports map[string][]string, from string, seen map[string]bool) {
	for _, to := range imports[from] {
		if !seen[to] {
			seen[to] = true
			reach(imports, to, seen)
		}
	}
}

// reduce leaves out each import that another import leads to.
func reduce(imports map[string][]string) map[string][]string {
	direct := map[string][]string{}
	for from, all := range imports {
		beyond := map[string]bool{}
		for _, to := range all {
			reach(imports, to, beyond)
		}
		direct[from] = slices.DeleteFunc(slices.Sorted(slices.Values(all)), func(to string) bool { return beyond[to] })
	}
	return direct
}

// node is a package on a floor, or a place where an arrow passes it.
type node struct {
	name  string // empty if an arrow passes
	below []*node
	above []*node
	at    float64 // its middle
}

func (n *node) width() float64 {
	if n.name == "" {
		return 14
	}
	return 7.4*float64(len(n.name)) + 22
}

// floors puts each package below all that import it.
func floors(direct map[string][]string) [][]*node {
	depth := map[string]int{}
	var sink func(name string, to int)
	sink = func(name string, to int) {
		if d, known := depth[name]; known && d >= to {
			return
		}
		depth[name] = to
		for _, next := range direct[name] {
			sink(next, to+1)
		}
	}
	names := slices.Sorted(maps.Keys(direct))
	for _, name := range names {
		sink(name, 0)
	}
	house := make([][]*node, slices.Max(slices.Collect(maps.Values(depth)))+1)
	nodes := map[string]*node{}
	for _, name := range names {
		nodes[name] = &node{name: name}
		house[depth[name]] = append(house[depth[name]], nodes[name])
	}
	for _, from := range names {
		for _, to := range direct[from] {
			last := nodes[from]
			for floor := depth[from] + 1; floor <= depth[to]; floor++ {
				next := nodes[to]
				if floor < depth[to] {
					next = &node{}
					house[floor] = append(house[floor], next)
				}
				last.below, next.above = append(last.below, next), append(next.above, last)
				last = next
			}
		}
	}
	return house
}

const (
	gap, margin      = 14.0, 20.0
	boxHeight, floor = 26.0, 74.0
)

// arrange sets the places of all nodes, so that arrows are short: each node goes towards the
// middle of those that it is joined to, first downwards, then upwards, some times.
func arrange(house [][]*node) (width float64) {
	place := func(row []*node) {
		x := 0.0
		for _, n := range row {
			x += n.width() / 2
			n.at, x = x, x+n.width()/2+gap
		}
		width = max(width, x)
	}
	for _, row := range house {
		place(row)
	}
	for round := range 24 {
		for i := range house {
			row, joined := house[i], func(n *node) []*node { return n.above }
			if round%2 == 1 {
				row, joined = house[len(house)-1-i], func(n *node) []*node { return n.below }
			}
			wish := map[*node]float64{}
			for _, n := range row {
				wish[n] = n.at
				if others := joined(n); len(others) > 0 {
					sum := 0.0
					for _, o := range others {
						sum += o.at
					}
					wish[n] = sum / float64(len(others))
				}
			}
			slices.SortStableFunc(row, func(a, b *node) int { return cmp.Compare(wish[a], wish[b]) })
			settle(row, wish)
		}
	}
	least := 0.0
	for _, n := range slices.Concat(house...) {
		least = min(least, n.at-n.width()/2)
	}
	width = 0
	for _, n := range slices.Concat(house...) {
		n.at += margin - least
		width = max(width, n.at+n.width()/2+margin)
	}
	return width
}

// settle puts the nodes of a floor where they wish to be, as far as there is room.
func settle(row []*node, wish map[*node]float64) {
	for _, n := range row {
		n.at = wish[n]
	}
	for range 40 {
		for i := 1; i < len(row); i++ {
			a, b := row[i-1], row[i]
			if lack := a.at + a.width()/2 + gap + b.width()/2 - b.at; lack > 0 {
				a.at, b.at = a.at-lack/2, b.at+lack/2
			}
		}
	}
}

// draw is the picture of what packages import.
func draw(imports map[string][]string) []byte {
	house := floors(reduce(imports))
	width := arrange(house)
	height := 2*margin + floor*float64(len(house)-1) + boxHeight
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="monospace" font-size="12">
<!-- go run ./scripts/architecture -->
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#888"/></marker></defs>
<rect width="100%%" height="100%%" fill="#fff"/>
`, width, height)
	top := func(i int) float64 { return margin + floor*float64(i) }
	for i, row := range house {
		for _, n := range row {
			from := top(i) + boxHeight
			if n.name == "" {
				from = top(i)
				fmt.Fprintf(&b, `<path d="M%.0f %.0fV%.0f" stroke="#888"/>`+"\n", n.at, from, from+boxHeight)
				from += boxHeight
			}
			for _, to := range n.below {
				tip := ""
				if to.name != "" {
					tip = ` marker-end="url(#tip)"`
				}
				y := top(i + 1)
				fmt.Fprintf(&b, `<path d="M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f" fill="none" stroke="#888"%s/>`+"\n", n.at, from, n.at, from+20, to.at, y-24, to.at, y, tip)
			}
		}
	}
	for i, row := range house {
		for _, n := range row {
			if n.name != "" {
				fmt.Fprintf(&b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="4" fill="%s" stroke="#444"/><text x="%.0f" y="%.0f" text-anchor="middle">%s</text>`+"\n",
					n.at-n.width()/2, top(i), n.width(), boxHeight, colour(n.name), n.at, top(i)+17, n.name)
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// colour tells the parts of the program apart.
func colour(name string) string {
	part, _, _ := strings.Cut(name, "/")
	return map[string]string{"cmd": "#ffe9b8", "scenarios": "#ffd9c9", "metrics": "#d5ecd4", "loadgen": "#cfe3f7", "server": "#cfe3f7", "internal": "#ececec"}[part]
}
