package token

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
)

// issuer is a transport that responds like the server of a key set, without a network: it works in
// a synctest bubble.
type issuer struct {
	mu   sync.Mutex
	body []byte        // guarded by mu; if nil, connections fail
	gate chan struct{} // guarded by mu; if not nil, requests wait until it is closed
	hits int           // guarded by mu
}

func newIssuer(body []byte) *issuer { return &issuer{body: body} }

func (i *issuer) client() *http.Client { return &http.Client{Transport: i} }

func (i *issuer) set(body []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body = body
}

// hold makes requests wait until the returned function is called.
func (i *issuer) hold() (release func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	gate := make(chan struct{})
	i.gate = gate
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.gate = nil
		close(gate)
	}
}

func (i *issuer) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hits
}

func (i *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.hits++
	gate := i.gate
	i.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.body == nil {
		return nil, errors.New("connection refused")
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{},
		Body:       io.NopCloser(bytes.NewReader(i.body)),
		Request:    req,
	}, nil
}

// logLines collects the log lines of a Verifier.
type logLines struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (l *logLines) add(msg string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		msg += ": " + err.Error()
	}
	l.lines = append(l.lines, msg)
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}
