// Package cleanenv takes out of the environment what a library would read before main
// and end the program for. gnet's logger panics in its init when GNET_LOGGING_LEVEL is
// not a number, and opens the file that GNET_LOGGING_FILE names; this program gives gnet
// a logger of its own, so neither setting has a use here.
//
// It works because packages are initialized in the order of their import paths as soon as
// all that they import is (since Go 1.21). This one needs os alone. gnet's logger needs
// zap, zap needs net/http, and that needs vendor/golang.org/x/net, which comes after
// tcpbench in the alphabet. So this package must import nothing but os. A test of the real
// binary, cmd/tcpbench/testdata/script/environment.txtar, shows whether the order holds.
package cleanenv

import "os"

func init() {
	for _, name := range []string{"GNET_LOGGING_LEVEL", "GNET_LOGGING_FILE"} {
		_ = os.Unsetenv(name) // it fails on impossible names alone
	}
}
