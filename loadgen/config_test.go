package loadgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"tcpbench/internal/wire"
	"tcpbench/loadgen/pace"
	"testing"
	"time"
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
