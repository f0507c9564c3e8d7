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
	"google.golang.org/grpc/interop/grpc_testing"
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

// grpcServer serves gRPC's own health service, whose answers name the version in their header, and the stream of its interoperability
// tests, on which each message comes back.
type grpcServer struct {
	address string
	server  *grpc.Server
}

// duplex sends each message of a stream back, until the client closes it.
type duplex struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (duplex) FullDuplexCall(
	stream grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse],
) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: message.GetPayload()}); err != nil {
			return err
		}
	}
}

func (h *grpcServer) ListenAndServe() error {
	listener, err := net.Listen("tcp", h.address)
	if err != nil {
		return err
	}
	return h.server.Serve(listener)
}

func newGRPCServer(g greeter, address string) *grpcServer {
	name := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if err := grpc.SetHeader(ctx, metadata.Pairs("x-helloworld-version", g.version)); err != nil {
			return nil, err
		}
		return handle(ctx, request)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(name))
	grpc_health_v1.RegisterHealthServer(server, grpchealth.NewServer())
	grpc_testing.RegisterTestServiceServer(server, duplex{})
	return &grpcServer{address, server}
}

// Shutdown lets what runs end, until the deadline.
func (h *grpcServer) Shutdown(deadline context.Context) error {
	drained := make(chan struct{})
	go func() { h.server.GracefulStop(); close(drained) }()
	select {
	case <-drained:
	case <-deadline.Done():
		h.server.Stop()
	}
	return nil
}
