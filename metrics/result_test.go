package metrics

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sampleResult(t testing.TB) *Result {
	intended := 10_000.5
	return &Result{
		Schema: Schema,
		Tool:   Tool{Name: "tcpbench", Version: "v0", Go: "go1.26"},
		Host: Host{
			Hostname: "h", OS: "linux", Kernel: "6.18.0", Arch: "amd64", CPUs: 2, MemoryByte: 1 << 33,
			Load: [3]float64{0.1, 0.2, 0.3}, Sysctls: map[string]string{"net.ipv4.tcp_tw_reuse": "2"},
			Limits: map[string]string{"nofile": "20000"},
		},
		Scenario: Scenario{
			Name: "short", Arrival: "poisson", Lifecycle: "connect → <exchange> & close", Close: "client-fin",
			Target: []string{"127.0.0.1:7001"}, Sources: []string{}, Settings: map[string]string{"rate": "10000.5"},
		},
		Command:  []string{"tcpbench", "short"},
		Started:  time.Date(2026, 5, 4, 12, 0, 0, 7, time.UTC),
		ElapsedS: 10.000000001,
		Tally: Tally{
			Attempted: 6, Succeeded: 3, Failed: map[string]uint64{"connect.refused": 2}, Open: 1, Missed: 4,
		},
		Rate: 0.3, RateIntended: &intended, RateOffered: 0.6,
		Histograms: map[string]Histogram{
			Connect:   export(t, recorderOf([]int64{10, 20, 4_000_000_000})),
			CloseTime: export(t, NewRecorder()),
		},
		Series: []Row{{T: 1, Attempted: 6, Succeeded: 3, Failed: 2, InFlight: 1, ConnectP50: 20, ConnectP99: 4e9, ConnectMax: 4e9, ConnectCallMean: 7, Exhausted: 8}},
		CPU:    CPU{Client: &Usage{UserS: 0.1, SystemS: 0.2, PerConnection: 60_000}, HostBusy: 0.5},
		Server: &ServerReport{Accepted: 3, Exchanges: 3, Closed: map[string]uint64{"completed": 3}},
		Checks: []Check{{Name: "accepted", OK: true, Detail: "3 = 3"}},
		Flags:  []Flag{{Name: "shared-host", Why: "client and server share 2 processors"}},
	}
}

func written(t testing.TB, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadReturnsWhatWriteWrote(t *testing.T) {
	want := sampleResult(t)
	text := written(t, want)
	got, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !strings.HasSuffix(text, "}\n") || !strings.Contains(text, "connect → <exchange> & close") {
		t.Errorf("not for people to read:\n%s", text)
	}
	if again := written(t, got); again != text {
		t.Errorf("written again:\n%s\nwant\n%s", again, text)
	}
}

func TestReadRejects(t *testing.T) {
	sound := sampleResult(t)
	delete(sound.Histograms, CloseTime) // so that connect has the only hdr field
	text := written(t, sound)
	for _, tt := range []struct{ name, old, new, want string }{
		{"nothing", text, "", "EOF"},
		{"half a document", text[len(text)/2:], "", "unexpected EOF"},
		{"no JSON", "{", "(", "byte 1"},
		{"text for a number", `"attempted": 6`, `"attempted": "6"`, "attempted"},
		{"other schema", Schema, "tcpbench.result/2", `"tcpbench.result/2"`},
		{"no balance", `"succeeded": 3`, `"succeeded": 2`, "balance"},
		{"damaged histogram", `"hdr": "H`, `"hdr": "X`, "connect"},
		{"count of a histogram", `"count": 3`, `"count": 4`, "connect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			damaged := strings.Replace(text, tt.old, tt.new, 1)
			_, err := Read(strings.NewReader(damaged))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that names %q", err, tt.want)
			}
		})
	}
}

func TestFlagged(t *testing.T) {
	r := sampleResult(t)
	if !r.Flagged("shared-host") || r.Flagged("invalid") || (&Result{}).Flagged("invalid") {
		t.Errorf("flags %v are told wrongly", r.Flags)
	}
}

func TestWriteReturnsTheErrorOfItsWriter(t *testing.T) {
	if err := sampleResult(t).Write(fullDisk{}); !errors.Is(err, errFull) {
		t.Errorf("error %v, want %v", err, errFull)
	}
}

var errFull = errors.New("no space left on device")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// A file is read or refused. A document that was read stays the same if it is written and read again.
func FuzzRead(f *testing.F) {
	text := written(f, sampleResult(f))
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add(strings.Replace(text, `"hdr": "`, `"hdr": "AAAA`, 1))
	f.Add(`{"schema":"` + Schema + `"}`)
	f.Add(`{"schema":"` + Schema + `","attempted":1,"failed":{"":1},"series":[{}],"histograms":{"":{"unit":"ns"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		first := written(t, r)
		again, err := Read(strings.NewReader(first))
		if err != nil {
			t.Fatalf("a written document can't be read again: %v", err)
		}
		if second := written(t, again); second != first {
			t.Fatalf("written again:\n%s\nwant\n%s", second, first)
		}
	})
}
