package values

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestPorts(t *testing.T) {
	for text, want := range map[string]int{"1": 1, "65535": 1, "9000-9063": 64, "9000,9002-9003": 3, "1-1024": 1024} {
		if ports, err := Ports(text); err != nil || len(ports) != want {
			t.Errorf("Ports(%q) = %d ports, %v, want %d", text, len(ports), err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]uint32{"0": 0, "1": 1, "4k": 4096, "1M": 1 << 20, "16M": 16 << 20, "16777216": 16 << 20} {
		if n, err := Size(text); err != nil || n != want {
			t.Errorf("Size(%q) = %d, %v, want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "k", "-1", "1.5k", "1K", "16777217", "4294967296k", "0x10"} {
		if n, err := Size(text); err == nil {
			t.Errorf("Size(%q) = %d, want an error", text, n)
		}
	}
}

func TestAmount(t *testing.T) {
	for text, want := range map[string]uint64{"1": 1, "4k": 4096, "16M": 16 << 20, "128G": 128 << 30, "2T": 2 << 40, "9223372036854775807": 1<<63 - 1} {
		if n, err := Amount(text); err != nil || n != want {
			t.Errorf("Amount(%q) = %d, %v, want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "0", "0k", "k", "kk", "-1", "1.5k", "1K", "1Mk", "9223372036854775808", "8388608T", "0x10"} {
		if n, err := Amount(text); err == nil {
			t.Errorf("Amount(%q) = %d, want an error", text, n)
		}
	}
}

func TestPortRange(t *testing.T) {
	if r, err := PortRange("20000-29999"); err != nil || r != [2]int{20000, 29999} {
		t.Errorf("%v, %v", r, err)
	}
	for _, text := range []string{"", "1", "0-5", "5-4", "1-65536", "a-b", "1-2-3"} {
		if r, err := PortRange(text); err == nil {
			t.Errorf("%q read as %v", text, r)
		}
	}
}

func TestNumbers(t *testing.T) {
	n, share, wait := 64, 0.0, time.Duration(0)
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Var(Whole(&n, 1, 1024), "whole", "")
	f.Var(Share(&share), "share", "")
	f.Var(Time(&wait, time.Second, 2*time.Minute, time.Second), "time", "")
	for name, kind := range map[string]string{"whole": "1-1024", "share": "0-1", "time": "0s,1s-2m"} {
		if got := f.Lookup(name).Value.Type(); got != kind {
			t.Errorf("--%s is shown as %s, want %s", name, got, kind)
		}
	}
	for flag, texts := range map[string]string{"whole": "1 1024 0x10 1_000", "share": "0 1 0.5 1e-3", "time": "0s 0 1s 2m 1m30s"} {
		for text := range strings.FieldsSeq(texts) {
			if err := f.Set(flag, text); err != nil || f.Lookup(flag).Value.String() != text {
				t.Errorf("--%s %s: %v", flag, text, err)
			}
		}
	}
	for flag, texts := range map[string]string{
		"whole": "0 1025 -1 1.5 x 99999999999999999999", "share": "-0.1 1.1 NaN Inf x", "time": "1ms 1500ms 121s -1s 1 x 9999999999h",
	} {
		for text := range strings.FieldsSeq(texts) {
			if err := f.Set(flag, text); err == nil {
				t.Errorf("--%s takes %s", flag, text)
			}
		}
	}
	if n != 1000 || share != 1e-3 || wait != 90*time.Second {
		t.Errorf("%d, %g, %v", n, share, wait)
	}
}
