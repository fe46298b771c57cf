package loadgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen/pace"
)

func TestScripted(t *testing.T) {
	script := wire.Script{RequestSize: 100, ResponseSize: 1 << 20, CloseBy: wire.Server, CloseHow: wire.RST, Exchanges: 1}
	life := Scripted(script)
	if len(life.Request) != wire.HeaderSize+100 {
		t.Errorf("a request of %d bytes", len(life.Request))
	}
	if got, err := wire.Parse(life.Request); err != nil || got != script {
		t.Errorf("the request opens with %+v, %v", got, err)
	}
	if want := (Until{Kind: Exactly, Bytes: 1 << 20}); life.Response != want || life.CloseBy != wire.Server || life.CloseHow != wire.RST {
		t.Errorf("%+v", life)
	}
	if err := life.validate(); err != nil {
		t.Error(err)
	}
}

// A Config goes to another process as JSON, and loses nothing on the way.
func TestConfigTravels(t *testing.T) {
	cfg := Config{
		Targets: []netip.AddrPort{netip.MustParseAddrPort("[::1]:80"), netip.MustParseAddrPort("127.0.0.1:80")},
		Sources: pace.Sources{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, Process: pace.Poisson, Connections: 3, Profile: pace.Steady(2500), Seed: math.MaxUint64,
		Lifecycle: Lifecycle{Request: []byte("\x00\xff"), Response: Until{Kind: Match, Pattern: `\r\n`}, CloseBy: wire.Server, CloseHow: wire.RST},
		Loops:     2, Warmup: time.Second, Duration: time.Minute, Count: math.MaxUint64, Timeout: 1, OnExhausted: WaitExhausted,
	}
	var back Config
	text, err := json.Marshal(cfg)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", back) != fmt.Sprintf("%+v", cfg) || !bytes.Equal(back.Lifecycle.Request, cfg.Lifecycle.Request) {
		t.Errorf("%+v\narrives as %+v", cfg, back)
	}
}

func TestValidate(t *testing.T) {
	exact := Until{Kind: Exactly, Bytes: 1}
	beat := func(every time.Duration, missed int, d Design) func(*Config) {
		return func(c *Config) {
			c.Lifecycle.Again, c.Lifecycle.Beat = []byte("b"), &Heartbeat{Every: every, Missed: missed, Design: d}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string // empty if nothing is wrong
	}{
		{"nothing wrong", func(*Config) {}, ""},
		{"a heartbeat", beat(time.Second, 3, ClientPings), ""},
		{"beats too often", beat(time.Microsecond, 3, ClientPings), "a heartbeat: want every 1ms or more"},
		{"misses no beat", beat(time.Second, 0, ClientPings), "a heartbeat: want 1 to 100"},
		{"pings a listener that answers", beat(time.Second, 3, ServerListens), "a heartbeat: want a response of a byte or more, and none"},
		{"unknown design", beat(time.Second, 3, "x"), `a heartbeat: "x" is none of`},
		{"a population without a time", func(c *Config) { c.Process = pace.Hold }, "needs a time to hold it"},
		{"a burst of nothing", func(c *Config) { c.Process = pace.Bursts }, "a burst needs one connection"},
		{"jitter beyond 1", func(c *Config) { c.Lifecycle.Jitter = 2 }, "jitter"},
		{"a hello to tcpbench", func(c *Config) { c.Lifecycle.Hello = &Greeting{Response: exact} }, "for a foreign server"},
		{"a hello without an end", func(c *Config) {
			c.Lifecycle.Response, c.Lifecycle.Hello = Until{Kind: AtLeast, Bytes: 1}, &Greeting{Response: Until{Kind: AtLeast}}
		}, "a hello: its answer cannot end by"},
		{"ports without a range", func(c *Config) { c.Options.FixedPorts = true }, "need a range"},
		{"a range upside down", func(c *Config) { c.Options.PortRange = [2]int{2, 1} }, "the lower first"},
		{"no target", func(c *Config) { c.Targets = nil }, "no target"},
		{"no connections", func(c *Config) { c.Connections = 0 }, "connections: want 1 or more"},
		{"no timeout", func(c *Config) { c.Timeout = 0 }, "timeout: want more than 0"},
		{"negative duration", func(c *Config) { c.Duration = -1 }, "a duration is negative"},
		{"negative warm-up", func(c *Config) { c.Warmup = -1 }, "a duration is negative"},
		{"no bound", func(c *Config) { c.Count = 0 }, "neither a duration nor a count"},
		{"no process", func(c *Config) { c.Process = "" }, "unknown arrival process"},
		{"no rate", func(c *Config) { c.Process = pace.Constant }, "needs a rate"},
		{"too high a rate", func(c *Config) { c.Process, c.Profile = pace.Poisson, pace.Steady(pace.MaxRate+1) }, "up to"},
		{"no policy", func(c *Config) { c.OnExhausted = "" }, "unknown policy"},
		{"no end", func(c *Config) { c.Lifecycle.Response = Until{} }, "unknown end of a response"},
		{"negative end", func(c *Config) { c.Lifecycle.Response.Bytes = -1 }, "less than no bytes"},
		{"bad pattern", func(c *Config) { c.Lifecycle.Response = Until{Kind: Match, Pattern: "("} }, "end of the response"},
		{"two closers", func(c *Config) { c.Lifecycle.Response = Until{Kind: PeerFIN} }, "leaves nothing for the client to close"},
		{"only connects, server closes", func(c *Config) { c.Lifecycle.ConnectOnly, c.Lifecycle.CloseBy = true, wire.Server }, "close by client"},
		{"waits after RST", func(c *Config) { c.Lifecycle.CloseWait, c.Lifecycle.CloseHow = true, wire.RST }, "only a client that closes by FIN"},
		{"waits for the server", func(c *Config) { c.Lifecycle.CloseWait, c.Lifecycle.CloseBy = true, wire.Server }, "only a client that closes by FIN"},
		{"negative loops", func(c *Config) { c.Loops = -1 }, "loops"},
	} {
		cfg := Config{
			Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Process: pace.Closed, Connections: 1, Count: 1,
			Timeout: time.Second, OnExhausted: CountExhausted, Lifecycle: Lifecycle{Request: []byte("e"), Response: exact},
		}
		c.change(&cfg)
		if err := cfg.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}
