package loadgen

import (
	"time"
)

// Options are socket options that change the life of a connection. The zero value sets
// none but IP_BIND_ADDRESS_NO_PORT, which a source address needs.
type Options struct {
	NoDelay    bool   `json:"nodelay,omitempty"`    // TCP_NODELAY
	QuickAck   bool   `json:"quickack,omitempty"`   // TCP_QUICKACK, once, before connect()
	FastOpen   bool   `json:"fastopen,omitempty"`   // TCP_FASTOPEN_CONNECT: the SYN may carry the request
	MPTCP      bool   `json:"mptcp,omitempty"`      // IPPROTO_MPTCP
	ReuseAddr  bool   `json:"reuseaddr,omitempty"`  // SO_REUSEADDR
	TakePort   bool   `json:"take_port,omitempty"`  // bind() without IP_BIND_ADDRESS_NO_PORT
	PortRange  [2]int `json:"port_range,omitempty"` // IP_LOCAL_PORT_RANGE, lowest and highest
	FixedPorts bool   `json:"fixed_ports,omitempty"`
	SYNCount   int    `json:"syncnt,omitempty"` // TCP_SYNCNT: retransmissions of the SYN
	TOS        int    `json:"tos,omitempty"`    // IP_TOS, IPV6_TCLASS
	Congestion string `json:"congestion,omitempty"`
	// KeepAlive turns SO_KEEPALIVE on: the first probe after so long without a
	// segment, the next ones KeepInterval apart, KeepProbes in all.
	KeepAlive    time.Duration `json:"keepalive,omitempty"`
	KeepInterval time.Duration `json:"keepalive_interval,omitempty"`
	KeepProbes   int           `json:"keepalive_probes,omitempty"`
	// UserTimeout is TCP_USER_TIMEOUT: how long sent data may stay unacknowledged.
	UserTimeout time.Duration `json:"user_timeout,omitempty"`
	// FinTimeout is TCP_LINGER2: how long a closed connection waits in FIN_WAIT_2. Whole seconds.
	FinTimeout time.Duration `json:"fin_timeout,omitempty"`
}
