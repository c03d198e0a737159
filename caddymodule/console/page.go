package console

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"path"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
)

//go:embed page
var files embed.FS

// policy is the Content-Security-Policy. Nothing inline runs, nothing comes from another origin,
// and no script can turn text into markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// setHeaders sets the headers of every answer.
func setHeaders(header http.Header) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// contentTypes has the types of the files.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

// servePage serves the page or one of its files. The page's files are relative to it, so its
// address ends with a slash, whatever path leads to the console.
func servePage(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		problem.MethodNotAllowed("GET, HEAD").Write(w)
		return
	}
	header := w.Header()
	switch name {
	case "":
		header.Set("Location", path.Base(r.URL.Path)+"/")
		w.WriteHeader(http.StatusFound)
		return
	case "/":
		name = "/index.html"
	}
	body, err := files.ReadFile("page" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	header.Set("Content-Type", contentTypes[path.Ext(name)])
	header.Set("ETag", etag)
	header.Set("Cache-Control", "private, no-cache")
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) //nolint:gosec // a file that is built in; if it fails, the client is gone
	}
}
