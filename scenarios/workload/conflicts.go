package workload

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// What the user writes wins over what a scenario presets. The tables below say which flags
// exclude each other and which need another, once for all: a preset that breaks a rule gives
// way (giveWay), and a flag of the user that breaks one is an error (checkRules), which so
// names flags of the user only.

// A term is something that a flag says.
type term struct {
	flag string
	when func(*Workload) bool // nil: that it is given at all
}

// An exclusion is two terms that contradict each other: the first, and any of the others.
type exclusion struct {
	first  term
	others []term
	why    string
	or     string // another remedy than to leave one of them out
}

// A need is a flag that means nothing without another.
type need struct {
	flag term
	has  func(*Workload) bool
	why  string // with what to add
}

func given(flags ...string) (all []term) {
	for _, f := range flags {
		all = append(all, term{flag: f})
	}
	return all
}

const orUntil = "say when it is whole with --until bytes:N or a regular expression"

func says(flag string, when func(*Workload) bool) term { return term{flag, when} }

// The terms that stand in more than one rule.
var (
	closesFirst      = says("close", func(w *Workload) bool { return w.closeBy == wire.Server || w.closeBy == wire.Both })
	notClient        = says("close", func(w *Workload) bool { return w.closeBy != wire.Client })
	never            = says("close", func(w *Workload) bool { return w.closeBy == wire.Never })
	byClient         = says("close", func(w *Workload) bool { return w.closeBy == wire.Client })
	toldToClose      = says("close", func(w *Workload) bool { return w.closeBy == wire.Both || w.closeBy == wire.Never })
	notFIN           = says("close-how", func(w *Workload) bool { return w.closeHow != wire.FIN })
	half             = says("close-how", func(w *Workload) bool { return w.closeHow == wire.HalfClose })
	closeWait        = says("close-wait", func(w *Workload) bool { return w.closeWait })
	connectOnly      = says("connect-only", func(w *Workload) bool { return w.connectOnly })
	pipelined        = says("pipeline", func(w *Workload) bool { return w.pipeline })
	beating          = says("heartbeat", func(w *Workload) bool { return w.heartbeat != 0 })
	holds            = says("hold", func(w *Workload) bool { return w.hold > 0 })
	counts           = says("count", func(w *Workload) bool { return w.count > 0 })
	bursts           = says("burst", func(w *Workload) bool { return w.burst > 0 })
	stays            = says("stay", func(w *Workload) bool { return w.linger > 0 })
	pauses           = says("gap", func(w *Workload) bool { return w.gap > 0 })
	notPinging       = says("heartbeat-design", func(w *Workload) bool { return w.design != loadgen.ClientPings })
	noRequest        = says("request-size", func(w *Workload) bool { return w.requestSize == 0 })
	onIPv6           = says("ipv6", func(w *Workload) bool { return w.ipv6 })
	onIPv4           = says("ipv4", func(w *Workload) bool { return w.ipv4 })
	severalExchanges = says("exchanges", func(w *Workload) bool { return w.exchanges > 1 })
	checksContent    = says("check-content", func(w *Workload) bool { return w.checkContent })
	emptyPayload     = says("payload", (*Workload).emptyRequest)
	ofTCPBench       = given("request-size", "response-size")
	payloads         = given("payload", "payload-file")
	serverFlags      = given("ports", "server-loops", "backlog", "defer-accept", "server-keepalive", "server-user-timeout")
)

// exclude makes a rule; or is another remedy, if there is one.
func exclude(first term, others []term, why string, or ...string) exclusion {
	return exclusion{first, others, why, strings.Join(or, "")}
}

// excludeEach makes the same rule for several flags.
func excludeEach(first []term, others []term, why string, or ...string) (rules []exclusion) {
	for _, s := range first {
		rules = append(rules, exclude(s, others, why, or...))
	}
	return rules
}

var exclusions = slices.Concat([]exclusion{
	exclude(says("bpf", func(w *Workload) bool { return w.bpf }), []term{says("observe", func(w *Workload) bool { return !w.observe })}, "the tracepoints add to what is seen of the kernel"),
	exclude(says("bind-port", func(w *Workload) bool { return w.options.TakePort }), []term{says("explicit-ports", func(w *Workload) bool { return w.options.FixedPorts })}, "these are two ways to bind a port"),
	exclude(onIPv4, []term{onIPv6}, "a run is told one family, or uses all addresses of a name"),
	exclude(onIPv6, []term{says("sources", (*Workload).noSource6)}, "no source is of IPv6"),
	exclude(onIPv4, []term{says("sources", (*Workload).noSource4)}, "no source is of IPv4"),
	exclude(onIPv6, []term{says("target", targetOf(netip.Addr.Is4))}, "the target has an address of IPv4"),
	exclude(onIPv4, []term{says("target", targetOf(netip.Addr.Is6))}, "the target has an address of IPv6"),

	exclude(term{flag: "rate"}, []term{bursts}, "these are two arrival processes"),
	exclude(holds, []term{{flag: "rate"}, bursts}, "a population that is kept has no arrivals", "limit how fast it opens with --open-rate"),
	exclude(holds, []term{{flag: "duration"}, counts}, "the time of --hold bounds the run"),
	exclude(says("count", (*Workload).moreThanABurst), given("burst"), "one burst has fewer connections", "add --every, as in --every 5s"),
	exclude(term{flag: "open-rate"}, []term{{flag: "rate"}, bursts}, "only a closed loop or a held population opens as fast as it can"),

	exclude(term{flag: "payload"}, given("payload-file"), "one request is sent"),
	exclude(connectOnly, slices.Concat(payloads, ofTCPBench, given("exchanges"), []term{beating}), "nothing is sent"),
	exclude(checksContent, slices.Concat(payloads, []term{connectOnly, beating}), "only the responses of a tcpbench server have a known content"),
	exclude(connectOnly, []term{notClient}, "the server is told nothing, so it cannot close first"),
	exclude(closeWait, []term{notClient, notFIN}, "the client waits after its own FIN", "let the client close, by FIN"),
	exclude(half, []term{notClient, connectOnly, pipelined, beating}, "the client sends its FIN right after its last request, and needs one", "let the client close"),
	exclude(never, []term{notFIN}, "it is the client's FIN that the server leaves unanswered"),
	exclude(severalExchanges, []term{noRequest}, "the server knows a further request by its bytes", "make --request-size 1 or more"),
	exclude(pipelined, slices.Concat([]term{pauses}, payloads), "all --exchanges are sent at once, to a tcpbench server"),

	exclude(beating, given("exchanges", "exchange-rate", "gap", "pipeline", "stay"), "a heartbeat goes on for as long as the connection lives"),
	exclude(beating, []term{untilServerCloses("payload"), untilServerCloses("payload-file"), says("until", func(w *Workload) bool { return w.until.Kind == loadgen.PeerFIN })}, "a heartbeat is answered again and again, and this answer ends when the server closes", orUntil),
	exclude(notPinging, payloads, "only a tcpbench server can be told to"),
	exclude(emptyPayload, []term{severalExchanges, beating}, "the server speaks alone in a single exchange only"),
	exclude(beating, []term{noRequest, says("response-size", func(w *Workload) bool { return w.responseSize == 0 })}, "a beat and its answer need a byte", "make the size 1 or more"),
	exclude(notPinging, []term{notClient}, "the client closes"),
	exclude(says("heartbeat-design", func(w *Workload) bool { return w.design == loadgen.ServerListens }), given("response-size"), "the server never answers"),

	exclude(says("heartbeat-phase", func(w *Workload) bool { return w.phase == alignedPhase }), []term{says("heartbeat-design", func(w *Workload) bool { return w.design == loadgen.ServerPings })}, "the server spreads its own pings"),

	exclude(term{flag: "target"}, serverFlags, "these are for the run's own server"),
	exclude(says("until", func(w *Workload) bool { return w.until.Kind == loadgen.PeerFIN }), []term{byClient, closeWait}, "the answer ends when the server closes", orUntil),
},
	excludeEach(payloads, ofTCPBench, "sizes are for a tcpbench server"),
	excludeEach(payloads, []term{toldToClose}, "only a tcpbench server can be told to"),
	excludeEach([]term{untilServerCloses("payload"), untilServerCloses("payload-file")}, []term{byClient, closeWait}, "the answer ends when the server closes (--until close)", orUntil),
	excludeEach([]term{closesFirst, half}, []term{holds, stays, {flag: "close-rate"}}, "the close comes with the last response, so connections cannot stay or close at a rate", "let the client close"),
)

const beforePayload = "comes before a --payload to a foreign server: add --payload"

var needs = slices.Concat([]need{
	{says("payload-lines", func(w *Workload) bool { return w.raw.lines }), func(w *Workload) bool { return w.set("payload-file") }, "are of a file: add --payload-file FILE"},
	{term{flag: "hello"}, (*Workload).sendsPayload, beforePayload},
	{term{flag: "hello-until"}, (*Workload).sendsPayload, beforePayload},
	{term{flag: "hello"}, func(w *Workload) bool { return w.set("hello-until") }, "has an answer: say when it is whole with --hello-until bytes:N or a regular expression"},
	{says("no-preflight", func(w *Workload) bool { return w.raw.noPreflight }), (*Workload).sendsPayload, "leaves out the exchange that is tried before the load of a --payload: add --payload, or leave it out"},
	{term{flag: "until"}, (*Workload).sendsPayload, "tells when the answer to a --payload is whole: add --payload or --payload-file"},
	{term{flag: "arrival"}, func(w *Workload) bool { return w.rate != nil }, "says how the connections of an open loop are spaced: add --rate, as in --rate 1k"},
	{term{flag: "every"}, func(w *Workload) bool { return w.burst > 0 }, "is the distance of bursts: add --burst, as in --burst 1000"},
	{says("warmup", func(w *Workload) bool { return w.warmup > 0 }), func(w *Workload) bool { return w.hold == 0 }, "is load before arrivals are measured, and a held population (--hold) has none: the time that it takes to open is told apart: leave it out, or limit how fast it opens with --open-rate"},
	{says("replace", func(w *Workload) bool { return w.replace }), func(w *Workload) bool { return w.hold > 0 }, "keeps a held population whole: add --hold, as in --hold 30s"},
	{says("explicit-ports", func(w *Workload) bool { return w.options.FixedPorts }), func(w *Workload) bool { return w.options.PortRange != [2]int{} }, "takes ports from a range: add --local-ports, as in --local-ports 20000-29999"},
	{pipelined, func(w *Workload) bool { return w.exchanges > 1 }, "sends all --exchanges at once: give 2 or more of them"},
	{beating, func(w *Workload) bool { return w.hold > 0 }, "needs connections that stay: add --hold, as in --hold 30s, or use run long"},
},
	needsOf(payloads, func(w *Workload) bool { return w.target != "" }, "is for a foreign server: add --target HOST:PORT; the run's own server knows only its header"),
	needsOf(given("keepalive-interval", "keepalive-probes"), func(w *Workload) bool { return w.options.KeepAlive != 0 || w.serverOptions.KeepAlive != 0 }, "says how keepalive probes go: add --keepalive, as in --keepalive 5s"),
	needsOf(given("missed", "heartbeat-design", "heartbeat-phase"), func(w *Workload) bool { return w.heartbeat != 0 }, "says how a heartbeat goes: add --heartbeat, as in --heartbeat 5s"),
)

func needsOf(flags []term, has func(*Workload) bool, why string) (all []need) {
	for _, f := range flags {
		all = append(all, need{f, has, why})
	}
	return all
}

// untilServerCloses is a payload whose answer ends with the server's FIN, because nobody has
// said anything else.
func untilServerCloses(flag string) term {
	return says(flag, func(w *Workload) bool { return !w.set("until") })
}

// sendsPayload tells whether bytes are sent that the user gives, to any server.
func (w *Workload) sendsPayload() bool { return w.set("payload", "payload-file") }

func (w *Workload) moreThanABurst() bool {
	return w.burst > 0 && w.every == 0 && w.count > uint64(w.burst)
}

func (w *Workload) noSource4() bool {
	return !slices.ContainsFunc(w.sources, func(a netip.Addr) bool { return a.Unmap().Is4() })
}

func (w *Workload) noSource6() bool {
	return !slices.ContainsFunc(w.sources, func(a netip.Addr) bool { return !a.Unmap().Is4() })
}

// targetOf tells whether one of the targets is written as an address of a family.
func targetOf(family func(netip.Addr) bool) func(*Workload) bool {
	return func(w *Workload) bool {
		for target := range strings.SplitSeq(w.target, ",") {
			host, _, err := net.SplitHostPort(target)
			if err != nil {
				continue // Resolve says what is wrong
			}
			if a, err := netip.ParseAddr(host); err == nil && family(a.Unmap()) {
				return true
			}
		}
		return false
	}
}

// holds tells whether a flag says so: a flag that nobody has given says nothing.
func (w *Workload) holds(s term) bool {
	return w.set(s.flag) && (s.when == nil || s.when(w))
}

// checkRules finds flags that contradict each other, or lack another.
func (w *Workload) checkRules() error {
	for _, x := range exclusions {
		for _, other := range x.others {
			if w.holds(x.first) && w.holds(other) {
				err := fmt.Errorf("%s and --%s%s: %s: leave one of them out", w.valueOf(x.first), other.flag, w.valueOf(other), x.why)
				if x.or != "" {
					err = fmt.Errorf("%w, or %s", err, x.or)
				}
				return Misuse{Flag: x.first.flag, With: other.flag, err: err}
			}
		}
	}
	for _, n := range needs {
		if w.holds(n.flag) && !n.has(w) {
			return misuse(n.flag.flag, "%s %s", w.valueOf(n.flag), n.why)
		}
	}
	return nil
}

// valueOf is what is written after a flag, where the rule is about its value.
func (w *Workload) valueOf(s term) string {
	v := w.flags.Lookup(s.flag).Value
	switch text := v.String(); {
	case s.when == nil || v.Type() == "bool" && text == "true" || s.flag == "payload":
		return ""
	case v.Type() == "bool":
		return "=" + text
	default:
		return fmt.Sprintf(" %s", text)
	}
}
