// Package metrics is not pure.
package metrics

import (
	. "fmt"
	"net/http"
	"os"
	when "time"

	"golang.org/x/sys/unix"
)

func f() {
	Println(http.MethodGet, when.Second, unix.EAGAIN)
	when.Now()
	os.Stdout.Close()
}
