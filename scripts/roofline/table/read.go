package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// sample is one measurement.
type sample struct {
	rate   float64 // connections per second that succeeded
	cpu    float64 // microseconds of the client's CPU time for each of them; 0: unknown
	failed uint64
	// Sockets in TIME_WAIT right after the run, by who keeps them; both 0: not counted.
	timeWaitClient, timeWaitServer uint64
}

// formats are the readers by the end of a file's name.
var formats = map[string]func([]byte) (sample, error){
	".json": readResult,
	".kv":   readKeyValues,
	".wrk":  readWrk,
}

func readAll(folder, pairings string, rounds int) (map[rune][]sample, error) {
	rows := make(map[rune][]sample)
	for _, pairing := range pairings {
		if names[pairing] == "" {
			return nil, fmt.Errorf("there is no pairing %q", pairing)
		}
		for round := 1; round <= rounds; round++ {
			s, err := readOne(filepath.Join(folder, fmt.Sprintf("%c.%d", pairing, round)))
			if err != nil {
				return nil, err
			}
			rows[pairing] = append(rows[pairing], s)
		}
	}
	return rows, nil
}

func readOne(stem string) (sample, error) {
	for end, read := range formats {
		data, err := os.ReadFile(stem + end)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return sample{}, err
		}
		s, err := read(data)
		if err != nil {
			return sample{}, fmt.Errorf("%s%s: %w", stem, end, err)
		}
		return s, s.readTimeWait(stem + ".tw")
	}
	return sample{}, fmt.Errorf("%s: no result of this measurement", stem)
}

func (s *sample) readTimeWait(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(data), &s.timeWaitClient, &s.timeWaitServer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// balance refuses a result that has lost connections: its rate would mean nothing.
func balance(attempted, ok, failed, open uint64) error {
	if attempted != ok+failed+open {
		return fmt.Errorf("%d attempted are not %d ok + %d failed + %d open",
			attempted, ok, failed, open)
	}
	return nil
}

func readResult(data []byte) (sample, error) {
	var r struct {
		Rate                       *float64
		Attempted, Succeeded, Open uint64
		Failed                     map[string]uint64
		CPU                        struct {
			Client struct {
				PerConnection float64 `json:"us_per_connection"`
			}
		}
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return sample{}, err
	}
	if r.Rate == nil {
		return sample{}, errors.New("no rate")
	}
	s := sample{rate: *r.Rate, cpu: r.CPU.Client.PerConnection}
	for _, n := range r.Failed {
		s.failed += n
	}
	return s, balance(r.Attempted, r.Succeeded, s.failed, r.Open)
}

// readKeyValues reads the line of the C client.
func readKeyValues(data []byte) (sample, error) {
	values := make(map[string]float64)
	for _, field := range strings.Fields(string(data)) {
		key, text, _ := strings.Cut(field, "=")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return sample{}, fmt.Errorf("%s: %w", field, err)
		}
		values[key] = value
	}
	for _, key := range []string{"attempted", "ok", "failed", "open", "rate", "user_s", "system_s"} {
		if _, ok := values[key]; !ok {
			return sample{}, fmt.Errorf("no %s", key)
		}
	}
	s := sample{rate: values["rate"], failed: uint64(values["failed"])}
	if ok := values["ok"]; ok > 0 {
		s.cpu = (values["user_s"] + values["system_s"]) * 1e6 / ok
	}
	return s, balance(uint64(values["attempted"]), uint64(values["ok"]), s.failed, uint64(values["open"]))
}

var (
	wrkRate   = regexp.MustCompile(`(?m)^Requests/sec:\s+([0-9.]+)`)
	wrkErrors = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

func readWrk(data []byte) (sample, error) {
	rate := wrkRate.FindSubmatch(data)
	if rate == nil {
		return sample{}, errors.New("no Requests/sec")
	}
	value, err := strconv.ParseFloat(string(rate[1]), 64)
	if err != nil {
		return sample{}, err
	}
	s := sample{rate: value}
	for _, counts := range [][][]byte{wrkErrors.FindSubmatch(data), wrkStatus.FindSubmatch(data)} {
		for i := 1; i < len(counts); i++ {
			n, err := strconv.ParseUint(string(counts[i]), 10, 64)
			if err != nil {
				return sample{}, err
			}
			s.failed += n
		}
	}
	return s, nil
}
