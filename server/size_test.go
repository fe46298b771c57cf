package server

import (
	"testing"
	"unsafe"
)

// A million connections are 240 MB at most, beside what gnet has for each.
func TestConnIsSmall(t *testing.T) {
	size := unsafe.Sizeof(conn{})
	t.Logf("a connection takes %d bytes", size)
	if size > 240 {
		t.Errorf("a connection takes %d bytes, want 240 at most", size)
	}
}
