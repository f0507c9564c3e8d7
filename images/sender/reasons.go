package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The reader has these words in common with the results of curl.
const timedOut = "no answer in time"

// Parts of texts of errors that have no type, and their reasons.
var texts = []struct{ part, reason string }{
	{"GOAWAY", "connection closed by its server"},
	{"stream error", "stream reset"},
	{"client connection lost", "connection reset"},
	{"server closed", "closed without an answer"},
}

// reason says in few words why a request is lost. It has no numbers or addresses: lost requests are counted by it.
func reason(err error) string {
	if isTimeout(err) {
		return timedOut
	}
	if unresolved := new(net.DNSError); errors.As(err, &unresolved) {
		return "name not resolved"
	}
	if failed := new(net.OpError); errors.As(err, &failed) && failed.Op == "dial" {
		return "no connection"
	}
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "answer cut off"
	case errors.Is(err, io.EOF):
		return "closed without an answer"
	}
	if of, is := status.FromError(err); is && of.Code() != codes.OK {
		return "gRPC " + of.Code().String()
	}
	for _, known := range texts {
		if strings.Contains(err.Error(), known.part) {
			return known.reason
		}
	}
	if asked := new(url.Error); errors.As(err, &asked) {
		err = asked.Err
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var slow net.Error
	return errors.As(err, &slow) && slow.Timeout()
}
