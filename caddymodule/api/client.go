package api

import (
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/clients"
)

// ServeClient serves client.js or its types.
func ServeClient(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		problem.MethodNotAllowed("GET, HEAD").Write(w)
		return
	}
	body, etag, kind := clients.JS, clients.JSETag, "text/javascript; charset=utf-8"
	if name == "/client.d.ts" {
		body, etag, kind = clients.Types, clients.TypesETag, "application/typescript; charset=utf-8"
	}
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("ETag", etag)
	// It changes only with the server, and need not be up to date at once: five minutes save most
	// requests.
	header.Set("Cache-Control", "public, max-age=300")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write([]byte(body))
	}
}
