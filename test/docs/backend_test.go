package docs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// backendExample returns the header and the body of the signed request on a page.
func backendExample(t *testing.T, p page) (headers http.Header, body string) {
	t.Helper()
	for _, b := range p.blocks {
		if b.lang != "http" {
			continue
		}
		head, body, _ := strings.Cut(b.text, "\n\n")
		headers := make(http.Header)
		for line := range strings.SplitSeq(head, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				headers.Set(name, value)
			}
		}
		if want := webhookSignature(t, headers.Get("Webhook-Id"), headers.Get("Webhook-Timestamp"), body); headers.Get("Webhook-Signature") != want {
			t.Errorf("the request on %s has the signature %s, want %s", p.name, headers.Get("Webhook-Signature"), want)
		}
		return headers, body
	}
	t.Fatalf("%s shows no request", p.name)
	return nil, ""
}

// webhookSignature returns the signature with the secret of the pages.
func webhookSignature(t *testing.T, id, timestamp, body string) string {
	t.Helper()
	return standardSignature(t, backendSecret, id, timestamp, body)
}

// standardSignature returns the signature according to Standard Webhooks.
func standardSignature(t *testing.T, secret, id, timestamp, body string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// TestBackendExampleTakesWhatIsSigned runs the Go backend of docs/backend.md.
func TestBackendExampleTakesWhatIsSigned(t *testing.T) {
	p := readPage(t, "docs/backend.md")
	headers, body := backendExample(t, p)
	id := headers.Get("Webhook-Id")
	url, said := runGoExample(t, p, "localhost:3000")
	now := time.Now()
	at := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	for _, test := range []struct {
		name, timestamp, signature string
		want                       int
	}{
		{"signed", at(now), webhookSignature(t, id, at(now), body), http.StatusNoContent},
		{"with an old secret too", at(now), "v1,AAAA " + webhookSignature(t, id, at(now), body), http.StatusNoContent},
		{"other body", at(now), webhookSignature(t, id, at(now), body+" "), http.StatusUnauthorized},
		{"other time", at(now), webhookSignature(t, id, at(now.Add(-time.Second)), body), http.StatusUnauthorized},
		{"old", at(now.Add(-time.Hour)), webhookSignature(t, id, at(now.Add(-time.Hour)), body), http.StatusUnauthorized},
		{"none", at(now), "", http.StatusUnauthorized},
		{"the one shown", headers.Get("Webhook-Timestamp"), headers.Get("Webhook-Signature"), http.StatusUnauthorized}, // long ago
	} {
		r, err := http.NewRequest(http.MethodPost, url+"/rollcall", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = headers.Clone()
		r.Header.Set("Webhook-Timestamp", test.timestamp)
		r.Header.Set("Webhook-Signature", test.signature)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != test.want {
			t.Errorf("%s: status %d, want %d", test.name, resp.StatusCode, test.want)
		}
	}
	if got := strings.Count(said.String(), `sales on portal.example.com: {"text":"hello"}`); got != 2 {
		t.Errorf("it took %d messages, want 2:\n%s", got, said)
	}
}

// TestAuthorizeExample runs the Go backend of docs/authorize.md.
func TestAuthorizeExample(t *testing.T) {
	p := readPage(t, "docs/authorize.md")
	headers, body := backendExample(t, p)
	id := headers.Get("Webhook-Id")
	url, _ := runGoExample(t, p, "localhost:3000")
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	for _, test := range []struct {
		name, body string
		unsigned   bool
		status     int
		want       string
	}{
		{"member", body, false, http.StatusOK, `{"allow":true,"expires_in":3600}`},
		{"other user", strings.Replace(body, `"ada"`, `"mallory"`, 1), false, http.StatusOK, `{"allow":false}`},
		{"other channel", strings.Replace(body, "team-sales", "team-board", 1), false, http.StatusOK, `{"allow":false}`},
		{"unsigned", body, true, http.StatusUnauthorized, "not from Rollcall\n"},
	} {
		r, err := http.NewRequest(http.MethodPost, url+"/may-join", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = headers.Clone()
		r.Header.Set("Webhook-Timestamp", timestamp)
		r.Header.Set("Webhook-Signature", webhookSignature(t, id, timestamp, test.body))
		if test.unsigned {
			r.Header.Del("Webhook-Signature")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.status || string(got) != test.want {
			t.Errorf("%s: %d %s, %v, want %d %s", test.name, resp.StatusCode, got, err, test.status, test.want)
		}
	}
}

// runGoExample builds and runs the program of a page, at another address than on the page.
func runGoExample(t *testing.T, p page, address string) (url string, said *process.Buffer) {
	t.Helper()
	dir, own := t.TempDir(), freeAddr(t)
	for _, b := range p.blocks {
		if b.lang == "go" {
			text := strings.ReplaceAll(b.text, address, own)
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	formatted, err := exec.Command("gofmt", "-l", filepath.Join(dir, "main.go")).CombinedOutput()
	if err != nil || len(formatted) > 0 {
		t.Errorf("%s: the program is not formatted: %s %v", p.name, formatted, err)
	}
	program := filepath.Join(dir, "example")
	if out, err := exec.Command("go", "build", "-o", program, filepath.Join(dir, "main.go")).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, out)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "ROLLCALL_BACKEND_SECRET="+backendSecret)
	url = "http://" + own
	return url, process.Start(t, cmd, func() error { return responds(url) })
}
