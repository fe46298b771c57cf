package workload

import (
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"tcpbench/internal/values"
	"tcpbench/loadgen"
)

// rawWords are what a workload says to a server that is no tcpbench server.
type rawWords struct {
	payload     []loadgen.Template
	file        string
	lines       bool
	hello       []byte
	helloUntil  loadgen.Until
	noPreflight bool
}

func (w *Workload) registerRaw(f *pflag.FlagSet) {
	f.Var(&requests{to: &w.raw.payload, flags: f}, "payload", `send this instead of a header, to any server; escapes \r \n \t \\ \xNN, fields {{n:8}} {{rand:8}} {{hex:16}}; given again, or behind \|, another request in rotation`)
	f.StringVar(&w.raw.file, "payload-file", "", "send the content of this `FILE`, byte by byte")
	f.BoolVar(&w.raw.lines, "payload-lines", false, "each line of --payload-file is a request like --payload, sent in rotation")
	f.Var(values.New(&w.raw.hello, "", "TEXT", loadgen.ParsePayload), "hello", "send this once, before the first --payload of a connection")
	f.Var(values.New(&w.raw.helloUntil, "", "bytes:N|REGEXP", parseHelloUntil), "hello-until", "when the answer to --hello is whole; alone, wait for a greeting that long")
	f.BoolVar(&w.raw.noPreflight, "no-preflight", false, "begin the load of a --payload without trying one exchange before")
}

func parseHelloUntil(text string) (loadgen.Until, error) {
	u, err := loadgen.ParseUntil(text)
	if err == nil && u.Kind == loadgen.PeerFIN {
		return u, fmt.Errorf("the connection goes on after a hello: want bytes:N or a regular expression")
	}
	return u, err
}

// between separates the requests of one --payload. It is no escape of a request's own.
const between = `\|`

// requests is the value of the flag --payload. Given again it adds requests; but the first one of a
// command line takes the place of what the scenario has.
type requests struct {
	to    *[]loadgen.Template
	flags *pflag.FlagSet
	text  string
}

func (p *requests) String() string { return p.text }
func (p *requests) Type() string   { return "TEXT" }

func (p *requests) Set(text string) error {
	var all []loadgen.Template
	for _, request := range divided(text) {
		t, err := loadgen.ParseTemplate(request)
		if err != nil {
			return err
		}
		all = append(all, t)
	}
	if p.flags.Changed("payload") {
		all, text = append(*p.to, all...), p.text+between+text
	}
	*p.to, p.text = all, text
	return nil
}

// divided is a text without what stands between its requests.
func divided(text string) (all []string) {
	begin := 0
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if text[i+1] == '|' {
			all, begin = append(all, text[begin:i]), i+2
		}
		i++ // what is escaped
	}
	return append(all, text[begin:])
}

// emptyRequest tells whether one of the requests of --payload has no bytes.
func (w *Workload) emptyRequest() bool {
	return slices.ContainsFunc(w.raw.payload, func(t loadgen.Template) bool { return len(t.Text) == 0 })
}

// greeting is what is said once; nil is nothing.
func (w *Workload) greeting() *loadgen.Greeting {
	if !w.set("hello-until") {
		return nil
	}
	return &loadgen.Greeting{Request: w.raw.hello, Response: w.raw.helloUntil}
}

// ask fills in the requests.
func (w *Workload) ask(l *loadgen.Lifecycle) error {
	all := w.raw.payload
	if w.raw.file != "" {
		content, err := readPayload(w.raw.file)
		switch {
		case err != nil:
			return misuse("payload-file", ": %w: name a file that can be read", err)
		case !w.raw.lines:
			all = []loadgen.Template{{Text: content}}
		default:
			if all, err = loadgen.ParseLines(string(content)); err != nil {
				return misuse("payload-file", " %s: %w", w.raw.file, err)
			}
		}
	}
	l.Request = all[0].Text
	l.Again = l.Request
	if len(all) > 1 || len(all[0].Fields) > 0 {
		l.Rotation = all
	}
	return nil
}

// readPayload reads a file of at most values.MaxMessage bytes. It waits for none: files of /proc
// have no size, and some have no end.
func readPayload(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var content []byte
	if info.Mode().IsRegular() {
		_ = f.SetReadDeadline(time.Now().Add(time.Second)) // as /proc/kmsg can; most files need none
		content, err = io.ReadAll(io.LimitReader(f, values.MaxMessage+1))
	}
	if err == nil && (!info.Mode().IsRegular() || len(content) > values.MaxMessage) {
		err = fmt.Errorf("%s is no regular file of at most %d bytes", name, values.MaxMessage)
	}
	return content, err
}
