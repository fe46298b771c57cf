package metrics

// The histograms of a run.
const (
	ScheduleLag         = "schedule_lag"
	ConnectCall         = "connect_call"
	ConnectCallUpper    = "connect_call_upper"
	Connect             = "connect"
	ConnectUncorrected  = "connect_uncorrected"
	HandshakeRTT        = "handshake_rtt"
	HandshakeClient     = "handshake_client"
	HandshakeServer     = "handshake_server"
	AcceptDelay         = "accept_delay"
	Exhausted           = "exhausted"
	HelloTime           = "hello"
	FirstByte           = "first_byte"
	ExchangeTime        = "exchange"
	Heartbeat           = "heartbeat_rtt"
	Detect              = "detect"
	ServerDetect        = "server_detect"
	TCPRTT              = "tcp_rtt"
	CloseTime           = "close"
	Lifetime            = "lifetime"
	LifetimeUncorrected = "lifetime_uncorrected"
	LoopLag             = "loop_lag"
	TimeWaitSockets     = "time_wait"
	FinWait2Sockets     = "fin_wait2"
	NamespaceTimeWait   = "namespace_tw"
	PortsInUse          = "ports_in_use"
)

// The units of a histogram.
const (
	Nanoseconds = "ns"
	SocketsUnit = "sockets"
	PortsUnit   = "ports"
)

// kind defines one histogram of a run. Its texts are Markdown: docs/histograms.md is made of them.
type kind struct {
	name, unit string
	// from and to are the instants between which it measures. from is empty if it measures no such time.
	from, to string
}

// HistogramNames lists the histograms in the order of a connection's life.
func HistogramNames() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// UnitOf is the unit of the histogram of that name.
func UnitOf(histogram string) string {
	for _, k := range kinds {
		if k.name == histogram {
			return k.unit
		}
	}
	return Nanoseconds
}

var kinds = []kind{
	{ScheduleLag, Nanoseconds, "the time for which something was planned", "the loop began to do it: [below](#lateness)"},
	{ConnectCall, Nanoseconds, "before connect()",
		"after it returned: the time *inside* the call, port search included. A call that fails at once is a failure and not counted here"},
	{ConnectCallUpper, Nanoseconds, "", "the part of `connect_call` that was made while at least half of a range of local ports was taken, as the census saw it. " +
		"There connect() searches port by port (`__inet_hash_connect`), and takes longer the fuller the range is"},
	{Connect, Nanoseconds, "before connect(); in an open loop, the intended start", "the loop saw the socket established (EPOLLOUT, and no SO_ERROR)"},
	{ConnectUncorrected, Nanoseconds, "before connect()", "the same. Open loop only: what a tool would report that counts from the send"},
	{HandshakeRTT, Nanoseconds, "", "the kernel's own view: `tcpi_rtt` of TCP_INFO, which it took from SYN and SYN-ACK. Read from 1 connection in 64, in whole microseconds"},
	{HandshakeClient, Nanoseconds, "the client's socket entered SYN_SENT", "it entered ESTABLISHED, both by the kernel's clock. Every handshake, with `--bpf`"},
	{HandshakeServer, Nanoseconds, "the client's socket entered SYN_SENT",
		"the server's socket entered ESTABLISHED: the last ACK had come. Both ends on one machine, with `--bpf`"},
	{AcceptDelay, Nanoseconds, "the last segment that brought a connection forward before accept(): its first data, or the end of its handshake",
		"accept() returned, in the server. Of 1 connection in 64, in the kernel's ticks (1 to 10 ms, `resolution`): less than one is zero. " +
			"It is how long the connection waited in the accept queue, less the time until its first data came"},
	{Exhausted, Nanoseconds, "a connect() found no free four-tuple",
		"one found one again, in the same loop. Only the part of a spell within the measured time counts"},
	{HelloTime, Nanoseconds, "before the hello's first send(), or established if only a greeting is read (`--hello`, `--hello-until`)",
		"its answer whole. `first_byte` and `exchange` begin after it"},
	{FirstByte, Nanoseconds, "before the request's first send()", "first byte of the response read"},
	{ExchangeTime, Nanoseconds, "before the request's first send(). On loopback that call takes the request to the server and wakes it", "whole response read"},
	{Heartbeat, Nanoseconds, "before the beat's send()",
		"its answer read, by the side that pings: the client, or the server with `--heartbeat-design server`; a server that only listens has none. " +
			"It replaces `exchange`; a late answer counts from its own beat"},
	{Detect, Nanoseconds, "last byte from the server",
		"the client knew that the server is gone: by RST or FIN, or by missed beats. Only with `--heartbeat`, and only if a server went. " +
			"A client that pings a server that never answers has nothing to count from"},
	{ServerDetect, Nanoseconds, "last byte from the client",
		"the server knew that the client is gone. Only if the server listens or pings; if it merely answers, silence means nothing to it"},
	{TCPRTT, Nanoseconds, "", "the kernel's smoothed RTT before the close (`tcpi_rtt`), of 1 connection in 64"},
	{CloseTime, Nanoseconds, "own FIN sent, by shutdown()",
		"the peer's FIN or RST seen. Only if the client closes first and waits for the other side (`--close-wait`), or half-closes (`--close-how half`): " +
			"then it sends FIN right after the last request, and `close` begins where `exchange` does"},
	{Lifetime, Nanoseconds, "before connect(); in an open loop, the intended start", "we closed the socket. Only connections that succeeded"},
	{LifetimeUncorrected, Nanoseconds, "before connect()", "the same. Open loop only"},
	{LoopLag, Nanoseconds, "", "the duration of one turn of the event loop, which is the longest that an event can have waited for the loop itself"},
	{TimeWaitSockets, SocketsUnit, "",
		"the run's own sockets in TIME_WAIT in the client's namespace, of both sides if they share it: a sample at each census (sock_diag(7)). Unit: sockets"},
	{FinWait2Sockets, SocketsUnit, "", "likewise, in FIN_WAIT_2: this side has closed, and the other has not"},
	{NamespaceTimeWait, SocketsUnit, "",
		"`tw` of /proc/net/sockstat in the client's namespace, 10 samples a second: TIME_WAIT of everybody there, and FIN_WAIT_2 sockets " +
			"that no process holds, which the kernel counts in the same number. Unit: sockets"},
	{PortsInUse, PortsUnit, "",
		"local ports that the client's side takes of one four-tuple space, a source and a destination: a sample of each space in use at each census. Unit: ports"},
}
