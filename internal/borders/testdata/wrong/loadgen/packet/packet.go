// Package packet does nothing wrong.
package packet
