package integration

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// tlsClient accepts the certificate that the server made up.
func tlsClient(name string) *http.Client {
	return &http.Client{
		Timeout: ws.Patience,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: name},
		},
	}
}

func TestClientScript(t *testing.T) {
	load(t, portal(""))
	for path, kind := range map[string]string{
		"/message/client.js":    "text/javascript",
		"/message/client.d.ts":  "application/typescript",
		"/message/openapi.yaml": "application/yaml",
	} {
		t.Run(path, func(t *testing.T) {
			a := portalHost.Request(t, "GET", path, "")
			etag := a.Header.Get("ETag")
			if a.Status != 200 || len(a.Body) < 1000 || etag == "" ||
				!strings.HasPrefix(a.Header.Get("Content-Type"), kind) {
				t.Errorf("status %d, %d bytes, ETag %q, Content-Type %q", a.Status, len(a.Body), etag, a.Header.Get("Content-Type"))
			}
			same := portalHost.Request(t, "GET", path, "", "If-None-Match", etag)
			if same.Status != http.StatusNotModified || same.Body != "" || same.Header.Get("ETag") != etag {
				t.Errorf("asked again: status %d, %d bytes, ETag %q", same.Status, len(same.Body), same.Header.Get("ETag"))
			}
			if other := portalHost.Request(t, "GET", path, "", "If-None-Match", `"old"`); other.Status != 200 {
				t.Errorf("asked with another ETag: status %d", other.Status)
			}
			if head := portalHost.Request(t, "HEAD", path, ""); head.Status != 200 || head.Body != "" {
				t.Errorf("HEAD: status %d, %d bytes", head.Status, len(head.Body))
			}
			if post := portalHost.Request(t, "POST", path, ""); post.Status != 405 {
				t.Errorf("POST: status %d", post.Status)
			}
		})
	}
}
