package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// The longest time that an address counts for its name: a resolver is not asked for each of twenty connections a second.
const nameKept = time.Minute

// resolver keeps the address of each name for a while, as curl does.
type resolver struct {
	mutex sync.Mutex
	known map[string]entry
}

type entry struct {
	address string
	until   time.Time
}

func newResolver() *resolver {
	return &resolver{known: map[string]entry{}}
}

func (r *resolver) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	address, err := r.address(ctx, host)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(address, port))
}

func (r *resolver) address(ctx context.Context, host string) (string, error) {
	r.mutex.Lock()
	known, found := r.known[host]
	r.mutex.Unlock()
	if found && time.Now().Before(known.until) {
		return known.address, nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.known[host] = entry{addresses[0], time.Now().Add(nameKept)}
	return addresses[0], nil
}

// newTransport has the connections of one stream: a new one for each request, or one that is kept, as requests on it follow each
// other.
func newTransport(names *resolver, stream string) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(stream != keptHTTP2)
	protocols.SetUnencryptedHTTP2(stream == keptHTTP2)
	return &http.Transport{
		DialContext:       names.dial,
		DisableKeepAlives: stream == newConnections,
		Protocols:         protocols,
	}
}

// request asks for a URL and reads the whole answer. Where Go repeats it, on a new connection because the kept one was closed, a
// connection was opened for it.
func request(ctx context.Context, client *http.Client, url string, timeout time.Duration) outcome {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var o outcome
	var mutex sync.Mutex
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		mutex.Lock()
		defer mutex.Unlock()
		o.opened = o.opened || !got.Reused
	}})
	asked, err := http.NewRequestWithContext(traced, http.MethodGet, url, nil)
	if err != nil {
		return outcome{lost: err.Error()}
	}
	lost := answered(client, asked)
	mutex.Lock()
	defer mutex.Unlock()
	o.lost = lost
	return o
}

// answered says why a request is lost; empty where its whole answer came.
func answered(client *http.Client, asked *http.Request) string {
	answer, err := client.Do(asked)
	if err != nil {
		return reason(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return reason(err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Sprintf("HTTP %d", answer.StatusCode)
	}
	return ""
}

// httpExchange is a request on the one connection of its client.
type httpExchange struct {
	client *http.Client
	url    string
}

func (e *httpExchange) do(ctx context.Context, id string, timeout time.Duration) outcome {
	o := request(ctx, e.client, e.url+"?"+id, timeout)
	if o.lost != "" {
		// What was lost on a connection ends it, as a client's does that gives up.
		e.client.CloseIdleConnections()
	}
	return o
}
