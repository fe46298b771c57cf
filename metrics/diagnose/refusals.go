package diagnose

import (
	"fmt"
	"strings"

	"tcpbench/metrics"
)

// The findings about a tcpbench server that refuses connections.
const (
	ServerDescriptors = "server-descriptors"
	ServerBounds      = "server-bounds"
)

// serverDescriptors: a tcpbench server had no file descriptor left.
func serverDescriptors(r *metrics.Result) *metrics.Finding {
	told, untold := failed(r, metrics.ServerDescriptors), untoldRefusals(r)
	if told+untold == 0 {
		return nil
	}
	f := &metrics.Finding{
		Name:     ServerDescriptors,
		What:     fmt.Sprintf("The server refused %s connections, because its process had no file descriptor left.", number(told+untold)),
		Evidence: evidence(r, "failed.server_descriptors"),
		Mechanism: "Each accepted connection is a file descriptor of the server's process, which may have RLIMIT_NOFILE of them. A tcpbench server " +
			"closes further ones before accept() fails, and tells clients that have sent their header why.",
		Remedies: []metrics.Remedy{
			{Do: "raise the limit where the server starts: ulimit -n, LimitNOFILE= of systemd, --ulimit nofile of the container", Cost: "about 1 KB of kernel memory for each open one"},
			{Do: "several servers, each on a port of its own: --target HOST:9000,HOST:9001", Cost: "a process each"},
			{Do: "fewer --connections at once", Cost: "none"},
		},
	}
	if untold > 0 {
		f.Evidence = append(f.Evidence, count("failed.reset by the server's refusal", untold))
	}
	return f
}

// untoldRefusals are the resets by which the run's own server refused connections that had sent no
// header.
func untoldRefusals(r *metrics.Result) uint64 {
	if r.Server == nil {
		return 0
	}
	refused, told := r.Server.Closed["descriptors"], failed(r, metrics.ServerDescriptors)
	return min(refused-min(told, refused), failed(r, metrics.Reset))
}

// serverBounds: a tcpbench server refused what this client ordered.
func serverBounds(r *metrics.Result) *metrics.Finding {
	var flags []string
	var all uint64
	f := &metrics.Finding{
		Name: ServerBounds,
		Mechanism: "tcpbench serve limits what one source address and one connection may order, and refuses more (docs/protocol.md). " +
			"This run measured that limit.",
	}
	for _, bound := range []struct {
		outcome metrics.Outcome
		flag    string
	}{
		{metrics.ServerConnections, "--max-connections"}, {metrics.ServerRate, "--max-rate"}, {metrics.ServerBytes, "--max-bytes"},
		{metrics.ServerLife, "--max-life"}, {metrics.ServerSize, "--max-request or --max-response"}, {metrics.ServerRefused, "what its --help says"},
	} {
		if n := failed(r, bound.outcome); n > 0 {
			all += n
			flags = append(flags, bound.flag)
			f.Evidence = append(f.Evidence, evidence(r, "failed."+bound.outcome.String())...)
		}
	}
	if all == 0 {
		return nil
	}
	f.What = fmt.Sprintf("The server refused %s connections, because they ordered more than it allows.", number(all))
	f.Remedies = []metrics.Remedy{
		{Do: "start the server with a higher " + strings.Join(flags, ", "), Cost: "every client may order as much"},
		{Do: "more --sources, if the limit is of a source address", Cost: "none"},
	}
	return f
}
