package main

import (
	"bytes"
	"os"
	"testing"
)

// The picture shows what packages import now.
func TestPictureIsUpToDate(t *testing.T) {
	packages, err := imports("../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../" + target)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, draw(packages)) {
		t.Errorf("%s is not of this tree: go run ./scripts/architecture", target)
	}
}
