package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

const (
	largestBody = 16 << 20
	longestWait = time.Minute
)

// echo serves HTTP/1.1 and unencrypted HTTP/2. The name of a Service's port selects the protocol that sidecars use, on both
// sides, so that each protocol has a port of its own.
func echo(g greeter, address string) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		w.Header().Set("x-helloworld-version", g.version)
		_, _ = w.Write(body)
	})
	mux.HandleFunc("GET /describe", func(w http.ResponseWriter, r *http.Request) {
		// A sidecar that treats a connection as HTTP adds a request id.
		opaque := r.Header.Get("x-request-id") == ""
		fmt.Fprintf(w, "%s, protocol: %s, opaque: %t\n", g, r.Proto, opaque)
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		seconds, err := strconv.Atoi(r.URL.Query().Get("seconds"))
		wait := time.Duration(seconds) * time.Second
		if err != nil || wait < 0 || wait > longestWait {
			http.Error(w, "seconds: a number up to 60", http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(wait):
			fmt.Fprintf(w, "%s, after: %d\n", g, seconds)
		case <-r.Context().Done():
		}
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Addr: address, Handler: mux, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
}

// health serves gRPC's own health service, and names its version in the header of each answer.
type health struct {
	address string
	server  *grpc.Server
}

func (h *health) ListenAndServe() error {
	listener, err := net.Listen("tcp", h.address)
	if err != nil {
		return err
	}
	return h.server.Serve(listener)
}

func newHealth(g greeter, address string) *health {
	name := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if err := grpc.SetHeader(ctx, metadata.Pairs("x-helloworld-version", g.version)); err != nil {
			return nil, err
		}
		return handle(ctx, request)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(name))
	grpc_health_v1.RegisterHealthServer(server, grpchealth.NewServer())
	return &health{address, server}
}

// Shutdown lets what runs end, until the deadline.
func (h *health) Shutdown(deadline context.Context) error {
	drained := make(chan struct{})
	go func() { h.server.GracefulStop(); close(drained) }()
	select {
	case <-drained:
	case <-deadline.Done():
		h.server.Stop()
	}
	return nil
}
