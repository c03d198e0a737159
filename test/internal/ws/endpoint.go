package ws

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/description"
)

// Site is a host of a server, as a backend uses it.
type Site struct {
	URL  string // like http://127.0.0.1:9080
	Host string // "" for the host of the URL
	Key  string // if "", none is sent
	// Client sends the requests. If nil, a default one does.
	Client *http.Client
	// Shaped says that a plugin of the site may change answers, into any JSON.
	Shaped bool
}

// Socket returns a handshake with the site.
func (s Site) Socket() Request {
	return Request{URL: strings.Replace(s.URL, "http", "ws", 1) + "/message/socket", Host: s.Host}
}

// Dial opens a websocket, with header fields in pairs.
func (s Site) Dial(t testing.TB, header ...string) *Client {
	t.Helper()
	r := s.Socket()
	r.Header = Header(header...)
	return Dial(t, r)
}

// Header returns a header with the fields, given in pairs.
func Header(fields ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

// Answer is an HTTP response with its body.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Do sends a request to the site. The key is not added.
func (s Site) Do(method, path, body string, header ...string) (a Answer, err error) {
	err = again(func() error {
		a, err = s.do(method, path, body, header...)
		return err
	})
	return a, err
}

func (s Site) do(method, path, body string, header ...string) (Answer, error) {
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header = Header(header...)
	if s.Host != "" {
		req.Host = s.Host
	}
	client := s.Client
	if client == nil {
		client = &http.Client{Timeout: Patience, Transport: plain}
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(text)}
	checked := description.Exchange{
		Method: method, Path: path, Request: body, Status: answer.Status, Header: answer.Header, Response: answer.Body, Shaped: s.Shaped,
	}
	return answer, checked.Check()
}

// plain keeps no connections open, so that none is left when goroutines are counted.
var plain = &http.Transport{DisableKeepAlives: true}

// Request is Do, but fails the test without an answer.
func (s Site) Request(t testing.TB, method, path, body string, header ...string) Answer {
	t.Helper()
	a, err := s.Do(method, path, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// Ask posts a JSON body to an endpoint, with the key in the header, and returns the body of a 200
// or 201 response.
func (s Site) Ask(endpoint, body string) (string, error) {
	header := []string{"Content-Type", "application/json"}
	if s.Key != "" {
		header = append(header, "X-Api-Key", s.Key)
	}
	a, err := s.Do(http.MethodPost, "/message/"+endpoint, body, header...)
	if err != nil {
		return "", err
	}
	if a.Status != http.StatusOK && a.Status != http.StatusCreated {
		return "", fmt.Errorf("%s: status %d: %s", endpoint, a.Status, a.Body)
	}
	return a.Body, nil
}

// Answer is Ask, but fails the test on an error.
func (s Site) Answer(t testing.TB, endpoint, body string) string {
	t.Helper()
	got, err := s.Ask(endpoint, body)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Expect calls an endpoint once. The answer must be the same JSON as want.
func (s Site) Expect(t testing.TB, endpoint, body, want string) {
	t.Helper()
	if diff := Diff(s.Answer(t, endpoint, body), want); diff != "" {
		t.Errorf("%s %s: %s", endpoint, body, diff)
	}
}

// Await polls an endpoint until the answer is the same JSON as want: the server notices a lost
// client a little later.
func (s Site) Await(t testing.TB, endpoint, body, want string) {
	t.Helper()
	Poll(t, Patience, func() error {
		got, err := s.Ask(endpoint, body)
		if err != nil {
			return err
		}
		if diff := Diff(got, want); diff != "" {
			return fmt.Errorf("%s %s: %s", endpoint, body, diff)
		}
		return nil
	})
}
