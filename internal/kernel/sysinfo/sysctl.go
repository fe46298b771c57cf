package sysinfo

import (
	"path"
	"strings"
)

// sysctls are the settings that decide how connections are made, end and fail. Those of net.ipv4
// hold for TCP over IPv6 too.
var sysctls = strings.Fields(`
	fs.file-max fs.nr_open
	net.core.busy_poll net.core.default_qdisc net.core.netdev_budget net.core.netdev_budget_usecs net.core.netdev_max_backlog
	net.core.rmem_default net.core.rmem_max net.core.somaxconn net.core.wmem_default net.core.wmem_max
	net.ipv4.ip_autobind_reuse net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports net.ipv4.ip_unprivileged_port_start
	net.ipv4.tcp_abort_on_overflow net.ipv4.tcp_child_ehash_entries net.ipv4.tcp_congestion_control net.ipv4.tcp_ecn
	net.ipv4.tcp_ehash_entries net.ipv4.tcp_fastopen net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl
	net.ipv4.tcp_keepalive_probes net.ipv4.tcp_keepalive_time net.ipv4.tcp_max_orphans net.ipv4.tcp_max_syn_backlog
	net.ipv4.tcp_max_tw_buckets net.ipv4.tcp_mem net.ipv4.tcp_migrate_req net.ipv4.tcp_orphan_retries net.ipv4.tcp_retries1
	net.ipv4.tcp_retries2 net.ipv4.tcp_rfc1337 net.ipv4.tcp_rmem net.ipv4.tcp_rto_max_ms net.ipv4.tcp_rto_min_us
	net.ipv4.tcp_sack net.ipv4.tcp_syn_linear_timeouts net.ipv4.tcp_syn_retries net.ipv4.tcp_synack_retries
	net.ipv4.tcp_syncookies net.ipv4.tcp_timestamps net.ipv4.tcp_tw_reuse net.ipv4.tcp_tw_reuse_delay
	net.ipv4.tcp_window_scaling net.ipv4.tcp_wmem
	net.netfilter.nf_conntrack_buckets net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max
	net.netfilter.nf_conntrack_tcp_timeout_syn_recv net.netfilter.nf_conntrack_tcp_timeout_time_wait`)

// Sysctls reads the settings that matter for connections: those of the calling thread's network
// namespace, and those of the machine that the namespace shows. It leaves out settings that do not
// exist here.
func Sysctls() map[string]string { return files("/").sysctls() }

func (f files) sysctls() map[string]string {
	values := map[string]string{}
	for _, name := range sysctls {
		if text, ok := f.read(path.Join("proc/sys", strings.ReplaceAll(name, ".", "/"))); ok {
			values[name] = strings.Join(strings.Fields(text), " ") // ranges have a tab
		}
	}
	return values
}
