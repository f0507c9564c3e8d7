// Command sender sends steadily to one Service and writes what became of each request to its standard output, a line of JSON each.
//
// One stream opens a connection for each request. The others keep a connection open, or a gRPC stream, and use it twice a second.
// A stream without its flag is not sent.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// The names of the streams in the lines.
const (
	newConnections = "new"
	keptHTTP1      = "http1"
	keptHTTP2      = "http2"
	keptTCP        = "tcp"
	grpcStream     = "grpc"
)

// What the command line asks for.
type settings struct {
	fresh, http1, http2, tcp, grpc string
	rate                           float64
	timeout, every                 time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.fresh, newConnections, "", "URL that is requested on new connections")
	flag.StringVar(&s.http1, keptHTTP1, "", "URL that is requested on a kept HTTP/1.1 connection")
	flag.StringVar(&s.http2, keptHTTP2, "", "URL that is requested on a kept HTTP/2 connection")
	flag.StringVar(&s.tcp, keptTCP, "", "URL at a port that the mesh takes for TCP, requested on a kept connection")
	flag.StringVar(&s.grpc, grpcStream, "", "host and port of a bidirectional gRPC stream")
	flag.Float64Var(&s.rate, "rate", 10, "requests a second on new connections")
	flag.DurationVar(&s.timeout, "timeout", 2900*time.Millisecond, "how long an answer may take")
	flag.DurationVar(&s.every, "every", 500*time.Millisecond, "the interval on what is kept open")
	flag.Parse()
	if s.fresh == "" || s.rate <= 0 || s.timeout <= 0 || s.every <= 0 {
		log.Fatal("-new needs a URL, and -rate, -timeout and -every more than nothing")
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	send(stopping, s)
}

// send begins every stream that is asked for, and returns when ctx ends; what is under way then is not waited for.
func send(ctx context.Context, s settings) {
	names := newResolver()
	fresh := &http.Client{Transport: newTransport(names, newConnections)}
	if !awaitAnswer(ctx, fresh, s) {
		return
	}
	pod := os.Getenv("POD_NAME")
	if pod == "" {
		pod, _ = os.Hostname()
	}
	// Unique, also where a container is started again in its pod.
	series := func(stream string) *series {
		return &series{writer: os.Stdout, stream: stream, name: fmt.Sprintf("%s-%d-%s", pod, time.Now().Unix(), stream)}
	}
	go sendOnNew(ctx, fresh, s, series(newConnections))
	for stream, url := range map[string]string{keptHTTP1: s.http1, keptHTTP2: s.http2, keptTCP: s.tcp} {
		if url != "" {
			client := &http.Client{Transport: newTransport(names, stream)}
			go sendOnKept(ctx, s, series(stream), &httpExchange{client, url})
		}
	}
	if s.grpc != "" {
		go sendOnKept(ctx, s, series(grpcStream), &streamExchange{target: s.grpc, names: names})
	}
	<-ctx.Done()
}

// awaitAnswer asks once a second until there is an answer; what comes before says nothing about the mesh. False where ctx ends.
func awaitAnswer(ctx context.Context, client *http.Client, s settings) bool {
	for {
		if request(ctx, client, s.fresh, s.timeout).lost == "" {
			return true
		}
		fmt.Println(mark + "waits")
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
}
