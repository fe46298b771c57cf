package server

import _ "tcpbench/loadgen/packet"
