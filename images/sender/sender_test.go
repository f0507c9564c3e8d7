package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

const (
	inTime = 5 * time.Second
	soon   = 50 * time.Millisecond
)

// lines is an output that a reader can look at meanwhile.
type lines struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(text)
}

func (l *lines) results(t *testing.T) []result {
	t.Helper()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var found []result
	for _, line := range strings.Split(strings.TrimSpace(l.text.String()), "\n") {
		if line == "" {
			continue
		}
		var one result
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, mark)), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		found = append(found, one)
	}
	return found
}

func (l *lines) await(t *testing.T, count int) []result {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < inTime; time.Sleep(time.Millisecond) {
		if found := l.results(t); len(found) >= count {
			return found
		}
	}
	t.Fatalf("%d results, wanted %d", len(l.results(t)), count)
	return nil
}

func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	server := httptest.NewUnstartedServer(handle)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

func TestEachRequestHasANewConnectionAndItsOwnID(t *testing.T) {
	var asked sync.Map
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { asked.Store(r.URL.RawQuery, r.RemoteAddr) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	output := &lines{}
	client := &http.Client{Transport: newTransport(newResolver(), newConnections)}
	go sendOnNew(ctx, client, settings{fresh: server.URL, rate: 200, timeout: inTime}, &series{writer: output, stream: newConnections, name: "pod-1-new"})
	from := map[any]bool{}
	for number, one := range output.await(t, 5)[:5] {
		if one.Number != number+1 || one.Lost != "" || !one.Opened || one.Series != "pod-1-new" {
			t.Errorf("%+v", one)
		}
		address, found := asked.Load(one.ID)
		if !found || from[address] {
			t.Errorf("%s: asked %v, from a connection that was used before %v", one.ID, found, from[address])
		}
		from[address] = true
	}
}

func TestARequestThatHangsDelaysNoOther(t *testing.T) {
	ended := make(chan struct{})
	server := serve(t, func(http.ResponseWriter, *http.Request) { <-ended })
	t.Cleanup(func() { close(ended) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	output := &lines{}
	client := &http.Client{Transport: newTransport(newResolver(), newConnections)}
	begun := time.Now()
	go sendOnNew(ctx, client, settings{fresh: server.URL, rate: 200, timeout: 300 * time.Millisecond}, &series{writer: output, stream: newConnections})
	for _, one := range output.await(t, 10) {
		if one.Lost != timedOut {
			t.Errorf("%+v", one)
		}
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("ten requests that hang for 0.3 s took %v: one after the other", took)
	}
}

func TestAConnectionIsKeptByEachProtocol(t *testing.T) {
	for _, stream := range []string{keptHTTP1, keptHTTP2, keptTCP} {
		t.Run(stream, func(t *testing.T) {
			var version atomic.Int32
			server := serve(t, func(_ http.ResponseWriter, r *http.Request) { version.Store(int32(r.ProtoMajor)) })
			on := &httpExchange{&http.Client{Transport: newTransport(newResolver(), stream)}, server.URL}
			for number, opened := range []bool{true, false, false} {
				if o := on.do(t.Context(), "id", inTime); o != (outcome{opened: opened}) {
					t.Errorf("request %d: %+v", number, o)
				}
			}
			if (version.Load() == 2) != (stream == keptHTTP2) {
				t.Errorf("HTTP/%d", version.Load())
			}
			server.CloseClientConnections()
			for o := on.do(t.Context(), "id", inTime); !o.opened; o = on.do(t.Context(), "id", inTime) {
				if o.lost == "" {
					t.Fatal("answered on a connection that was closed")
				}
			}
		})
	}
}

func TestAnAnswerThatIsNoneIsLost(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	on := &httpExchange{&http.Client{Transport: newTransport(newResolver(), keptHTTP1)}, server.URL}
	if o := on.do(t.Context(), "id", inTime); o.lost != "HTTP 503" {
		t.Errorf("%+v", o)
	}
}

// A server of streams whose behaviour a test sets.
type streams struct {
	grpc_testing.UnimplementedTestServiceServer
	answer func(received int, stream grpc.BidiStreamingServer[message, answer], got *message) error
}

func (s *streams) FullDuplexCall(stream grpc.BidiStreamingServer[message, answer]) error {
	for received := 1; ; received++ {
		got, err := stream.Recv()
		if err != nil {
			return nil
		}
		if err := s.answer(received, stream, got); err != nil {
			return err
		}
	}
}

func back(_ int, stream grpc.BidiStreamingServer[message, answer], got *message) error {
	return stream.Send(&answer{Payload: got.GetPayload()})
}

func serveStreams(t *testing.T, does func(int, grpc.BidiStreamingServer[message, answer], *message) error) (*streamExchange, *grpc.Server) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(server, &streams{answer: does})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return &streamExchange{target: listener.Addr().String(), names: newResolver()}, server
}

func TestEachMessageComesBackOnOneStream(t *testing.T) {
	on, _ := serveStreams(t, back)
	for number, opened := range []bool{true, false, false} {
		if o := on.do(t.Context(), fmt.Sprint("id-", number), inTime); o != (outcome{opened: opened}) {
			t.Errorf("message %d: %+v", number, o)
		}
	}
}

func TestAStreamThatFailsIsLostAndAFreshOneIsOpened(t *testing.T) {
	on, _ := serveStreams(t, func(received int, stream grpc.BidiStreamingServer[message, answer], got *message) error {
		if received == 2 {
			return status.Error(codes.Unavailable, "upstream connect error 10.0.0.1:15443")
		}
		return back(received, stream, got)
	})
	wanted := []outcome{{opened: true}, {lost: "gRPC Unavailable"}, {opened: true}}
	for number, one := range wanted {
		if o := on.do(t.Context(), "id", inTime); o != one {
			t.Errorf("message %d: %+v, wanted %+v", number, o, one)
		}
	}
}

func TestAStreamThatEndsBetweenTwoMessagesIsOpenedAgain(t *testing.T) {
	on, _ := serveStreams(t, func(received int, stream grpc.BidiStreamingServer[message, answer], got *message) error {
		if err := back(received, stream, got); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "draining")
	})
	for number := range 3 {
		if o := on.do(t.Context(), "id", inTime); o != (outcome{opened: true}) {
			t.Errorf("message %d: %+v", number, o)
		}
		<-on.open.ended
	}
}

func TestAMessageThatDoesNotComeBackInTimeIsLost(t *testing.T) {
	on, _ := serveStreams(t, func(int, grpc.BidiStreamingServer[message, answer], *message) error { return nil })
	for range 2 {
		if o := on.do(t.Context(), "id", soon); o != (outcome{opened: true, lost: timedOut}) {
			t.Errorf("%+v", o)
		}
	}
}

func TestAnotherMessageIsNoAnswer(t *testing.T) {
	on, _ := serveStreams(t, func(_ int, stream grpc.BidiStreamingServer[message, answer], _ *message) error {
		return stream.Send(&answer{Payload: &grpc_testing.Payload{Body: []byte("other")}})
	})
	if o := on.do(t.Context(), "id", inTime); o.lost != "another message came back" {
		t.Errorf("%+v", o)
	}
}

func TestAServerThatIsNotThereIsLostAtOnceAndIsTriedAgain(t *testing.T) {
	on, server := serveStreams(t, back)
	server.Stop()
	for range 2 {
		begun := time.Now()
		if o := on.do(t.Context(), "id", inTime); o != (outcome{opened: true, lost: "gRPC Unavailable"}) {
			t.Errorf("%+v", o)
		}
		if time.Since(begun) >= inTime {
			t.Error("it was not refused, it was waited for")
		}
	}
}

func TestReasonsHaveNoNumbersOrAddresses(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for wanted, err := range map[string]error{
		timedOut:                          fmt.Errorf("read: %w", context.DeadlineExceeded),
		"name not resolved":               &net.OpError{Op: "dial", Err: &net.DNSError{Name: "a", IsNotFound: true}},
		"no connection":                   refused,
		"connection reset":                &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		"answer cut off":                  io.ErrUnexpectedEOF,
		"closed without an answer":        io.EOF,
		"gRPC Unavailable":                status.Error(codes.Unavailable, "10.0.0.1:15443"),
		"stream reset":                    errors.New("stream error: stream ID 7; REFUSED_STREAM"),
		"connection closed by its server": errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=7"),
	} {
		if got := reason(err); got != wanted {
			t.Errorf("%v: %q, wanted %q", err, got, wanted)
		}
	}
}
