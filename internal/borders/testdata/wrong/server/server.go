// Package server knows a part of the client.
package server

import (
	_ "tcpbench/internal/wire"
	_ "tcpbench/loadgen/packet"
)
