package main

import (
	"io"

	"github.com/spf13/cobra"

	"tcpbench/internal/values"
	"tcpbench/metrics/report"
)

// formatFlag makes the flag --format of a command that prints such documents.
func formatFlag[T any](c *cobra.Command, to *string, formats report.Formats[T]) {
	*to = formats[0].Name
	c.Flags().Var(values.Word(to, formats.Names()...), "format", formats.Help())
}

// show prints a document on the command's stdout.
func show[T any](c *cobra.Command, formats report.Formats[T], format string, document T) error {
	out := c.OutOrStdout()
	return formats.Write(format, out, document, styleOf(out))
}

// styleOf is how a text is drawn on w.
func styleOf(w io.Writer) report.Style { return report.Style{Color: colored(w), Width: columns(w)} }
