// Command helloworld answers like Istio's sample of that name, with its version and its instance.
// On further ports it serves protocols that the sample does not: see protocols.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Who answers: which version, in which pod.
type greeter struct{ version, instance string }

func (g greeter) String() string {
	return fmt.Sprintf("Hello version: %s, instance: %s", g.version, g.instance)
}

func main() {
	instance, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	g := greeter{os.Getenv("SERVICE_VERSION"), instance}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ended := make(chan error)
	serve := func(server interface {
		ListenAndServe() error
		Shutdown(context.Context) error
	}) {
		go func() { ended <- server.ListenAndServe() }()
		go func() {
			<-stopping.Done()
			deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			ended <- server.Shutdown(deadline)
		}()
	}
	serve(&http.Server{Addr: ":5000", Handler: hello(g), ReadHeaderTimeout: 10 * time.Second})
	for _, address := range []string{":5002", ":5012", ":5022"} {
		serve(echo(g, address))
	}
	serve(newGRPCServer(g, ":5003"))
	// Of each server two words: that it stopped serving, and that it is drained.
	for range 5 * 2 {
		if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}
}

func hello(g greeter) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-helloworld-protocols", "http,http2,tcp,grpc,grpc-stream")
		fmt.Fprintln(w, g)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Helloworld is healthy")
	})
	return mux
}
