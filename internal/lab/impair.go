package lab

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tcpbench/internal/segment"
	"tcpbench/internal/values"
)

// Impairment says what happens to packets in one direction. The zero value is a perfect link.
type Impairment struct {
	// Loss is the share of packets lost at random, 0 to 1.
	Loss float64
	// Every n-th packet is lost; zero loses none.
	Every uint32
	// Drop loses segments that have exactly these flags.
	Drop []segment.Flags
	// Rate bounds the link, in bits per second; zero means no bound.
	Rate uint64
	// Delay is how long a packet takes, and Jitter how much longer it may take. Packets never
	// overtake each other.
	Delay, Jitter time.Duration
	// Seed decides which packets are lost at random, and how the delays differ.
	Seed uint64
}

// The bounds of what ParseImpairment accepts.
const (
	longestDelay = time.Minute
	mostRate     = 1e12
)

var impairmentKeys = []string{"loss", "every", "drop", "rate", "delay", "jitter", "seed"}

// ParseImpairment reads a list as loss=1%,every=100,drop=syn+ack,rate=100mbit,delay=10ms,jitter=2ms.
func ParseImpairment(text string) (Impairment, error) {
	var i Impairment
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return i, fmt.Errorf("%q: want KEY=VALUE, as in loss=1%%", part)
		}
		if err := i.set(key, value); err != nil {
			return i, err
		}
	}
	if i.Jitter > 0 && i.Delay == 0 {
		return i, errors.New("jitter without a delay: add delay=, as in delay=10ms")
	}
	if i.Seed > 0 && i.Loss == 0 && i.Jitter == 0 {
		return i, errors.New("seed without anything at random: add loss=, as in loss=1%, or jitter=")
	}
	return i, nil
}

func (i *Impairment) set(key, value string) (err error) {
	switch key {
	case "loss":
		number, percent := strings.CutSuffix(value, "%")
		i.Loss, err = strconv.ParseFloat(number, 64)
		if percent {
			i.Loss /= 100
		}
		if err != nil || !(i.Loss >= 0 && i.Loss <= 1) {
			return fmt.Errorf("loss=%s: want 0%% to 100%%, as in 1%%", value)
		}
	case "every":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n < 1 {
			return fmt.Errorf("every=%s: want a whole number of 1 or more, as in 100 for every hundredth", value)
		}
		i.Every = uint32(n)
	case "drop":
		f, err := segment.ParseFlags(value)
		if err != nil {
			return fmt.Errorf("drop=%s: %w", value, err)
		}
		i.Drop = append(i.Drop, f)
	case "rate":
		return i.setRate(value)
	case "delay", "jitter":
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > longestDelay {
			return fmt.Errorf("%s=%s: want 0s to 1m, as in 10ms", key, value)
		}
		if key == "delay" {
			i.Delay = d
		} else {
			i.Jitter = d
		}
	case "seed":
		if i.Seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			return fmt.Errorf("seed=%s: want a whole number, as in seed=7", value)
		}
	default:
		if near := values.Nearest(key, impairmentKeys); near != "" {
			return fmt.Errorf("%q is nothing that a link does: did you mean %s?", key, near)
		}
		return fmt.Errorf("%q is nothing that a link does: want %s", key, strings.Join(impairmentKeys, ", "))
	}
	return nil
}

func (i *Impairment) setRate(value string) error {
	number, factor := value, 1.0
	for _, u := range []struct {
		name   string
		factor float64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}} {
		if n, ok := strings.CutSuffix(value, u.name); ok {
			number, factor = n, u.factor
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if rate := n * factor; err != nil || number == value || !(rate >= 8000 && rate <= mostRate) || math.IsNaN(rate) {
		return fmt.Errorf("rate=%s: want 8kbit to 1000gbit, as in 100mbit", value)
	}
	i.Rate = uint64(n * factor)
	return nil
}

// String writes it as ParseImpairment reads it; empty for a perfect link.
func (i Impairment) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if i.Loss > 0 {
		add("loss=%g%%", i.Loss*100)
	}
	if i.Every > 0 {
		add("every=%d", i.Every)
	}
	for _, f := range i.Drop {
		add("drop=%s", f)
	}
	if i.Rate > 0 {
		add("rate=%dbit", i.Rate)
	}
	if i.Delay > 0 {
		add("delay=%v", i.Delay)
	}
	if i.Jitter > 0 {
		add("jitter=%v", i.Jitter)
	}
	if i.Seed > 0 {
		add("seed=%d", i.Seed)
	}
	return strings.Join(parts, ",")
}

// Filters tells whether it loses packets.
func (i *Impairment) Filters() bool { return i.Loss > 0 || i.Every > 0 || len(i.Drop) > 0 }
