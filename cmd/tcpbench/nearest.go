package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpbench/internal/values"
)

// nearest suggests the flag that an unknown one may have meant, as " (did you mean
// --rate?)", or nothing.
func nearest(c *cobra.Command, err error) string {
	_, name, ok := strings.Cut(err.Error(), "unknown flag: --")
	if !ok {
		return ""
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	if best := values.Nearest(name, known); best != "" {
		return " (did you mean --" + best + "?)"
	}
	return ""
}
