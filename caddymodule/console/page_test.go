package console

import (
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestEveryAnswerHasTheSameStrictHeaders(t *testing.T) {
	s := newScene(t)
	for _, at := range []string{"", "/", "/app.js", "/events?view=none", "/action"} {
		resp := s.get(t, at)
		policy := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%q: the policy %q lacks %s", at, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%q: the policy %q is not strict", at, policy)
		}
		if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%q: X-Content-Type-Options %q", at, got)
		}
	}
}

// TestThePageIsComplete checks that the files of the page are all served, and refer to nothing
// else.
func TestThePageIsComplete(t *testing.T) {
	s := newScene(t)
	if resp := s.get(t, ""); resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != "console/" {
		t.Errorf("status %s to %q", resp.Status, resp.Header.Get("Location"))
	}
	if resp := s.get(t, "/other"); resp.StatusCode != http.StatusTeapot || resp.Header.Get("Content-Security-Policy") != "" {
		t.Errorf("another path has status %s, and the headers %v", resp.Status, resp.Header)
	}
	elsewhere := regexp.MustCompile(`(https?:)?//[a-z]|url\(|innerHTML|outerHTML|insertAdjacent|\bon[a-z]+="|style="`)
	err := fs.WalkDir(files, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		at := strings.TrimPrefix(name, "page")
		if at == "/index.html" {
			at = "/"
		}
		resp := s.get(t, at)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentTypes[path.Ext(name)] {
			t.Errorf("%s: status %s, type %q, error %v", at, resp.Status, resp.Header.Get("Content-Type"), err)
		}
		if again := s.get(t, at, "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: asked for again, it has status %s", at, again.Status)
		}
		text := strings.ReplaceAll(string(body), "http://www.w3.org/2000/svg", "")
		if found := elsewhere.FindString(text); found != "" {
			t.Errorf("%s has %q", at, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
