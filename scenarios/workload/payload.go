package workload

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"tcpbench/internal/values"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

func parseHelloUntil(text string) (loadgen.Until, error) {
	u, err := loadgen.ParseUntil(text)
	if err == nil && u.Kind == loadgen.PeerFIN {
		return u, fmt.Errorf("the connection goes on after a hello: want bytes:N or a regular expression")
	}
	return u, err
}

// between separates the requests of one --payload. It is no escape of a request's own.
const between = `\|`

// requests is the value of the flag --payload. Given again it adds requests, but the first one of
// a command line replaces the scenario's.
type requests struct {
	w    *Workload
	text string
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
	if p.w.flags.Changed("payload") {
		all, text = append(p.w.payload, all...), p.text+between+text
	}
	p.w.payload, p.text = all, text
	return nil
}

// divided splits a text into its requests.
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

// ask fills in the requests to a server of any kind, and how their answers end.
func (w *Workload) ask(l *loadgen.Lifecycle) error {
	all := w.payload
	if w.payloadFile != "" {
		content, err := readPayload(w.payloadFile)
		switch {
		case err != nil:
			return misuse("payload-file", ": %w: name a file that can be read", err)
		case !w.payloadLines:
			all = []loadgen.Template{{Text: content}}
		default:
			if all, err = loadgen.ParseLines(string(content)); err != nil {
				return misuse("payload-file", " %s: %w", w.payloadFile, err)
			}
		}
	}
	l.Request = all[0].Text
	l.Again = l.Request
	if len(all) > 1 || len(all[0].Fields) > 0 {
		l.Rotation = all
	}
	if l.Response = w.until; w.until.Kind == loadgen.PeerFIN {
		l.CloseBy = wire.Server
	}
	if w.set("hello-until") {
		hello := w.hello
		l.Hello = &hello
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
