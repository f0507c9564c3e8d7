package main

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
)

type (
	message = grpc_testing.StreamingOutputCallRequest
	answer  = grpc_testing.StreamingOutputCallResponse
)

// streamExchange is a message on a bidirectional gRPC stream that stays open, and the message that comes back.
type streamExchange struct {
	target string
	names  *resolver
	open   *openStream
}

// openStream is one stream on a connection of its own. ended is closed when nothing more comes, and err says why.
type openStream struct {
	stream  grpc.BidiStreamingClient[message, answer]
	close   func()
	answers chan string
	ended   chan struct{}
	err     error
}

func (e *streamExchange) do(ctx context.Context, id string, timeout time.Duration) outcome {
	expired := time.NewTimer(timeout)
	defer expired.Stop()
	var o outcome
	if e.open != nil && e.open.hasEnded() {
		e.drop()
	}
	if e.open == nil {
		o.opened = true
		opened, err := openStreamTo(ctx, e.target, e.names, timeout)
		if err != nil {
			o.lost = reason(err)
			return o
		}
		e.open = opened
	}
	o.lost = e.open.exchange(id, expired.C)
	if o.lost != "" {
		e.drop()
	}
	return o
}

func (e *streamExchange) drop() {
	e.open.close()
	e.open = nil
}

// openStreamTo opens a connection and a stream on it. A refused one is an error at once or with the first message.
func openStreamTo(ctx context.Context, target string, names *resolver, timeout time.Duration) (*openStream, error) {
	connection, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return names.dial(ctx, "tcp", address)
		}),
		grpc.WithDisableRetry(), grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, err
	}
	living, cancel := context.WithCancel(ctx)
	end := func() { cancel(); _ = connection.Close() }
	late := time.AfterFunc(timeout, cancel)
	stream, err := grpc_testing.NewTestServiceClient(connection).FullDuplexCall(living)
	if !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err != nil {
		end()
		return nil, err
	}
	opened := &openStream{stream: stream, close: end, answers: make(chan string, 1), ended: make(chan struct{})}
	go opened.receive()
	return opened, nil
}

func (s *openStream) receive() {
	defer close(s.ended)
	for {
		got, err := s.stream.Recv()
		if err != nil {
			s.err = err
			return
		}
		select {
		case s.answers <- string(got.GetPayload().GetBody()):
		case <-s.stream.Context().Done():
		}
	}
}

func (s *openStream) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// exchange sends one message and waits for it to come back; it returns why it is lost, empty where it came back.
func (s *openStream) exchange(id string, expired <-chan time.Time) string {
	// Where the stream has ended meanwhile, its own end says why.
	_ = s.stream.Send(&message{Payload: &grpc_testing.Payload{Body: []byte(id)}})
	select {
	case got := <-s.answers:
		if got != id {
			return "another message came back"
		}
		return ""
	case <-s.ended:
		return reason(s.err)
	case <-expired:
		return timedOut
	}
}
