package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const page = "http://localhost:8101"

func TestControl(t *testing.T) {
	dir := t.TempDir()
	script, done := filepath.Join(dir, "run"), filepath.Join(dir, "done")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$2\" = web-1 ] || { echo \"There is no pod $2\" >&2; exit 2; }\necho \"$@\" >> "+done+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	handler := newHandler(listener.Addr(), script, []string{page})
	host := strings.Replace(listener.Addr().String(), "127.0.0.1", "localhost", 1)
	for _, test := range []struct {
		name, method, host, origin, path string
		want                             int
		says                             string
	}{
		{"an action", "POST", host, page, "/web-1/kill", http.StatusNoContent, ""},
		{"a preflight", "OPTIONS", host, page, "/web-1/kill", http.StatusNoContent, ""},
		{"a preflight of another site", "OPTIONS", host, "http://evil.example", "/web-1/kill", http.StatusForbidden, "Only the page"},
		{"another site", "POST", host, "http://evil.example", "/web-1/kill", http.StatusForbidden, "Only the page"},
		{"no page", "POST", host, "", "/web-1/kill", http.StatusForbidden, "Only the page"},
		{"another name of this address", "POST", "evil.example", page, "/web-1/kill", http.StatusForbidden, "Only the page"},
		{"another action", "POST", host, page, "/web-1/rm", http.StatusNotFound, "no such action"},
		{"an option", "POST", host, page, "/-x/kill", http.StatusNotFound, "no such action"},
		{"an unknown pod", "POST", host, page, "/web-9/kill", http.StatusConflict, "There is no pod web-9"},
		{"reading", "GET", host, page, "/web-1/kill", http.StatusMethodNotAllowed, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.path, nil)
			r.Host = test.host
			r.Header.Set("Origin", test.origin)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.want || !strings.Contains(w.Body.String(), test.says) {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, test.want, test.says)
			}
			if allowed := w.Header().Get("Access-Control-Allow-Origin"); (allowed == page) != (test.want != http.StatusForbidden) {
				t.Errorf("allows %q", allowed)
			}
		})
	}
	if got, err := os.ReadFile(done); string(got) != "kill web-1\n" {
		t.Errorf("the script did %q, %v", got, err)
	}
}

func TestControlListensOnLoopbackOnly(t *testing.T) {
	listener, err := listen("0.0.0.0:0")
	if err == nil {
		_ = listener.Close()
		t.Error("it listens for everybody")
	}
}
