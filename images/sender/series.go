package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// How every line of the log begins that is for the reader.
const mark = "splithorizon "

// outcome is what became of one request: whether a connection was opened for it, and why it is lost, empty where it was answered.
type outcome struct {
	opened bool
	lost   string
}

// result is a line of the log. Numbers are given when lines are written, so that a gap in them is a line that nobody has.
type result struct {
	Stream  string  `json:"stream"`
	ID      string  `json:"id"`
	Series  string  `json:"series"`
	Number  int     `json:"number"`
	Seconds float64 `json:"seconds"`
	Opened  bool    `json:"opened"`
	Lost    string  `json:"lost"`
}

// series writes the results of one stream.
type series struct {
	writer       io.Writer
	stream, name string
	mutex        sync.Mutex
	written      int
}

func (s *series) write(id string, begun time.Time, o outcome) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.written++
	line, err := json.Marshal(result{s.stream, id, s.name, s.written, time.Since(begun).Seconds(), o.opened, o.lost})
	if err != nil {
		panic(err) // texts and numbers have a form in JSON
	}
	// One write for each line: streams share the output.
	_, _ = fmt.Fprintf(s.writer, "%s%s\n", mark, line)
}

// sendOnNew begins requests at a fixed rate, whatever becomes of them: an open loop.
func sendOnNew(ctx context.Context, client *http.Client, s settings, to *series) {
	ticker := time.NewTicker(time.Duration(float64(time.Second) / s.rate))
	defer ticker.Stop()
	for number := 1; ; number++ {
		go func(id string) {
			begun := time.Now()
			o := request(ctx, client, s.fresh+"?"+id, s.timeout)
			if ctx.Err() == nil {
				to.write(id, begun, o)
			}
		}(fmt.Sprintf("%s-%d", to.name, number))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// exchange is one request and its answer on something that is kept open, and opened where it is not.
type exchange interface {
	do(ctx context.Context, id string, timeout time.Duration) outcome
}

// sendOnKept sends one request after the other, each at its time or when the one before has ended.
func sendOnKept(ctx context.Context, s settings, to *series, on exchange) {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for number := 1; ; number++ {
		id := fmt.Sprintf("%s-%d", to.name, number)
		begun := time.Now()
		o := on.do(ctx, id, s.timeout)
		if ctx.Err() != nil {
			return
		}
		to.write(id, begun, o)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
