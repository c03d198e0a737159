package api

import (
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/clients"
	"github.com/rollcall-gateway/rollcall/docs"
)

// file is what a site serves besides its endpoints, the same for all.
type file struct{ body, etag, kind string }

// files are the files by their path below the prefix.
var files = map[string]file{
	"/client.js":    {clients.JS, clients.JSETag, "text/javascript; charset=utf-8"},
	"/client.d.ts":  {clients.Types, clients.TypesETag, "application/typescript; charset=utf-8"},
	"/openapi.yaml": {docs.OpenAPI, clients.ETag(docs.OpenAPI), "application/yaml"}, // RFC 9512
}

// ServeFile serves client.js, its types, or the description of the endpoints. It reports false for
// another name.
func ServeFile(w http.ResponseWriter, r *http.Request, name string) bool {
	f, ok := files[name]
	if !ok {
		return false
	}
	f.serve(w, r)
	return true
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		problem.MethodNotAllowed("GET, HEAD").Write(w)
		return
	}
	header := w.Header()
	header.Set("Content-Type", f.kind)
	header.Set("ETag", f.etag)
	// It changes only with the server, and need not be up to date at once: five minutes save most
	// requests.
	header.Set("Cache-Control", "public, max-age=300")
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write([]byte(f.body))
	}
}
