package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/rollcall-gateway/rollcall/presence"
)

// maxBody is the longest request body in bytes.
const maxBody = 64 << 10

// request is the body of a request, an object. A value is looked at when it is asked for, so an unknown key is never an
// error.
type request map[string]json.RawMessage

// endpoint answers a request about a host with JSON.
type endpoint func(ctx context.Context, host presence.HostName, body request) ([]byte, *problem)

// serveEndpoint does what both endpoints have in common: everything but the answer itself.
func (h *Handler) serveEndpoint(w http.ResponseWriter, r *http.Request, name string, answer endpoint) {
	start, status := time.Now(), http.StatusOK
	defer func() { h.app.hub.metrics.answered(name, status, start) }()

	body, p := h.askEndpoint(r, w, answer)
	if p != nil {
		status = p.status
		p.write(w)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Rollcall-Complete", "true") // one pod knows all of itself
	_, _ = w.Write(body)                    // a client that has gone needs no answer
}

func (h *Handler) askEndpoint(r *http.Request, w http.ResponseWriter, answer endpoint) ([]byte, *problem) {
	if r.Method != http.MethodPost {
		return nil, problemMethod(http.MethodPost)
	}
	if h.app.hub.draining.Load() {
		return nil, problemDraining()
	}
	host, err := presence.ParseHost(r.Host)
	if err != nil {
		return nil, problemBadHost()
	}
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	client := newBadKeyClient(host, ip)
	if wait := h.app.hub.badKeys.blocked(client, time.Now()); wait > 0 {
		return nil, &problem{
			status: http.StatusTooManyRequests, code: "too_many_bad_keys",
			detail: "too many wrong keys came from this address: wait, then send the right one", retry: wait,
		}
	}
	body, p := readRequest(w, r)
	if p != nil {
		return nil, p
	}
	key, p := body.text("apiKey")
	if p != nil {
		return nil, p
	}
	if _, inBody := body["apiKey"]; !inBody {
		key = r.Header.Get("X-Api-Key")
	}
	if !h.site.keys.allow(key) {
		h.app.hub.badKeys.add(client, time.Now())
		return nil, &problem{
			status: http.StatusUnauthorized, code: "bad_key",
			detail: "send the site's API key as apiKey in the body or in the X-Api-Key header",
		}
	}
	return answer(r.Context(), host, body)
}

// readRequest reads and decodes a body.
func readRequest(w http.ResponseWriter, r *http.Request) (request, *problem) {
	if kind := r.Header.Get("Content-Type"); kind != "" {
		media, _, err := mime.ParseMediaType(kind)
		if err != nil || (media != "application/json" && !strings.HasSuffix(media, "+json")) {
			return nil, &problem{
				status: http.StatusUnsupportedMediaType, code: "not_json",
				detail: "send the body as Content-Type: application/json",
			}
		}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &problem{
			status: http.StatusRequestEntityTooLarge, code: "too_large", detail: "the body is over 64 KiB",
		}
	case err != nil:
		return nil, &problem{status: http.StatusBadRequest, code: "bad_body", detail: "the body did not arrive whole"}
	}
	return parseRequest(raw)
}

// parseRequest decodes a body. An empty one has no values: the key can be in the header.
func parseRequest(raw []byte) (request, *problem) {
	raw = bytes.Trim(raw, " \t\r\n")
	if len(raw) == 0 {
		return request{}, nil
	}
	var body request
	if err := json.Unmarshal(raw, &body); err != nil || body == nil {
		return nil, &problem{status: http.StatusBadRequest, code: "bad_json", detail: "the body is not a JSON object"}
	}
	return body, nil
}

// text returns a string, "" when the key is absent.
func (b request) text(key string) (string, *problem) {
	var s string
	p := b.decode(key, &s, "a string")
	return s, p
}

// flag returns a boolean, or what stands for an absent key.
func (b request) flag(key string, absent bool) (bool, *problem) {
	v := absent
	p := b.decode(key, &v, "true or false")
	return v, p
}

func (b request) decode(key string, to any, want string) *problem {
	raw, ok := b[key]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil || string(raw) == "null" {
		return &problem{status: http.StatusBadRequest, code: "bad_value", detail: key + " must be " + want}
	}
	return nil
}
