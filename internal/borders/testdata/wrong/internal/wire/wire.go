// Package wire looks up.
package wire

import _ "tcpbench/metrics"
