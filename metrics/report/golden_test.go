package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"tcpbench/metrics"
)

var update = flag.Bool("update", false, "write the goldens anew")

func TestTextMatchesTheGoldens(t *testing.T) {
	for _, tt := range []struct {
		name  string
		doc   *metrics.Result
		style Style
	}{
		{"healthy", healthy(t), Style{}},
		{"failing", failing(t), Style{}},
		{"failing-color", failing(t), Style{Color: true}},
		{"failing-narrow", failing(t), Style{Width: 40}},
		{"open", openLoop(t), Style{}},
		{"open-wide", openLoop(t), Style{Width: 120}},
		{"invalid", invalidRun(t), Style{}},
		{"invalid-color", invalidRun(t), Style{Color: true}},
		{"zero", &metrics.Result{}, Style{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			if err := Text(&got, tt.doc, tt.style); err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name, got.Bytes())
		})
	}
}

// drawnAsGolden draws views and compares each with its golden.
func drawnAsGolden(t *testing.T, views map[string]func(io.Writer) error) {
	t.Helper()
	for name, draw := range views {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := draw(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, name, got.Bytes())
			if err := draw(fullDisk{}); err == nil {
				t.Error("an error of the writer is lost")
			}
		})
	}
}

// golden compares with the view that somebody last checked.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; 'go test -update' writes it anew. got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestTextReturnsTheErrorOfItsWriter(t *testing.T) {
	if err := Text(fullDisk{}, &metrics.Result{}, Style{}); !errors.Is(err, errFull) {
		t.Errorf("error %v, want %v", err, errFull)
	}
}

var errFull = errors.New("no space left on device")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }
