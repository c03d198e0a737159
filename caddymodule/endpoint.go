package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// Most bytes of a request body.
const (
	maxBody      = 64 << 10
	maxUsersBody = 1 << 20 // of an endpoint that takes a list of users
)

// bodyLimit returns the most bytes of a body for an endpoint.
func bodyLimit(name string) int64 {
	if name == "adduser" || name == "removeuser" {
		return maxUsersBody
	}
	return maxBody
}

// request is the body of a request, an object. A value is looked at when it is asked for, so an unknown key is never an
// error.
type request map[string]json.RawMessage

// question is a request about a host, from somebody who may ask.
type question struct {
	site *site // whose rules hold
	host presence.HostName
	body request
	raw  []byte // the body as it came
}

// answer is JSON, and what it is worth.
type answer struct {
	body   []byte
	pieces [][]byte       // instead of body, of a long answer
	truth  *cluster.Truth // nil: it does not depend on other pods
	status int            // 0: 200
}

// endpoint answers a question.
type endpoint func(ctx context.Context, q question) (answer, *problem)

// serveEndpoint does what all endpoints have in common: everything but the answer itself.
func (h *Handler) serveEndpoint(w http.ResponseWriter, r *http.Request, name string, to endpoint) {
	start, status := time.Now(), http.StatusOK
	defer func() { h.app.hub.metrics.answered(name, status, start) }()

	a, p := h.askEndpoint(r, w, name, to)
	if p != nil {
		status = p.status
		p.write(w)
		return
	}
	if a.status != 0 {
		status = a.status
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if a.pieces == nil {
		a.pieces = [][]byte{a.body}
	}
	header.Set("Content-Length", strconv.Itoa(totalLen(a.pieces)))
	if a.truth != nil {
		setTruth(header, *a.truth)
	}
	w.WriteHeader(status)
	_ = writePieces(w, a.pieces) // a client that has gone needs no answer
}

// setTruth says in headers what an answer is worth.
func setTruth(header http.Header, t cluster.Truth) {
	header.Set("Rollcall-Complete", strconv.FormatBool(t.Complete))
	if len(t.Missing) > 0 {
		header.Set("Rollcall-Missing", strings.Join(t.Missing, ", "))
	}
}

func (h *Handler) askEndpoint(r *http.Request, w http.ResponseWriter, name string, to endpoint) (answer, *problem) {
	if p := h.checkAddress(r); p != nil {
		return answer{}, p
	}
	if r.Method != http.MethodPost {
		return answer{}, problemMethod(http.MethodPost)
	}
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		return answer{}, problemTooEarly()
	}
	if h.app.hub.draining.Load() {
		return answer{}, problemDraining()
	}
	host, err := presence.ParseHostName(r.Host)
	if err != nil {
		return answer{}, problemBadHost()
	}
	if _, p := h.owner(host); p != nil {
		return answer{}, p
	}
	raw, p := readBody(w, r, bodyLimit(name))
	if p != nil {
		return answer{}, p
	}
	body, p := parseRequest(raw)
	if p != nil {
		return answer{}, p
	}
	key, p := body.text("apiKey")
	if p != nil {
		return answer{}, p
	}
	if _, inBody := body["apiKey"]; !inBody {
		key = r.Header.Get("X-Api-Key")
	}
	// Only now, because a body may arrive slowly: a key that a reload has removed meanwhile is not valid.
	site, p := h.owner(host)
	if p != nil {
		return answer{}, p
	}
	if p := h.checkKey(site, key, clientNet(clientAddr(r))); p != nil {
		return answer{}, p
	}
	if host, site, p = bodyHost(r, body, host, site); p != nil {
		return answer{}, p
	}
	return to(r.Context(), question{site, host, body, raw})
}

// bodyHost returns the host that the body names, for clients that cannot choose the Host header, and its site. Without
// one they are those of the request. The two have to be hosts of one block, so that the key of the request opens both: a
// block with several addresses is a handler on each of their listeners. The client also needs an address that may use
// the named host: another block can differ in api_from alone.
func bodyHost(r *http.Request, body request, asked presence.HostName, s *site) (presence.HostName, *site, *problem) {
	text, p := body.text("host")
	if _, named := body["host"]; !named || p != nil {
		return asked, s, p
	}
	host, err := presence.ParseHostName(text)
	if err != nil {
		return asked, s, problemValue("host must be a domain name, like portal.example.com")
	}
	if host == asked {
		return asked, s, nil
	}
	configuration, err := s.app.settle()
	if err != nil {
		return asked, s, problemReloaded()
	}
	claim := configuration.claimOn(host)
	if claim == nil || claim.site.settings != s.settings {
		return asked, s, problemMisdirected()
	}
	for _, d := range claim.doors {
		if p = d.handler.checkAddress(r); p == nil {
			return host, claim.site, nil
		}
	}
	return asked, s, p // a claim has a door
}

// checkKey refuses a request whose key is not one of the site's. One without a key is no guess.
func (h *Handler) checkKey(s *site, key string, client netip.Prefix) *problem {
	// Also for a client that is blocked, so that the time of an answer does not depend on the key.
	right := s.keys.allow(key)
	if s.keys.open {
		return nil
	}
	if key != "" {
		if wait := h.app.hub.badKeys.try(badKeyClient{s.keys.set, client}, right, time.Now()); wait > 0 {
			return &problem{
				status: http.StatusTooManyRequests, code: "too_many_bad_keys",
				detail: "too many wrong keys came from this address: wait, then send the right one", retry: wait,
			}
		}
	}
	if !right {
		return &problem{
			status: http.StatusUnauthorized, code: "bad_key",
			detail: "send the site's API key as apiKey in the body or in the X-Api-Key header",
		}
	}
	return nil
}

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *problem) {
	if isEncoded(r.Header) {
		return nil, problemEncoded()
	}
	if !isJSON(r.Header) {
		return nil, &problem{
			status: http.StatusUnsupportedMediaType, code: "not_json",
			detail: "send the body as Content-Type: application/json",
		}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &problem{
			status: http.StatusRequestEntityTooLarge, code: "too_large",
			detail: fmt.Sprintf("the body is over %d KiB", limit>>10),
		}
	case err != nil:
		return nil, &problem{status: http.StatusBadRequest, code: "bad_body", detail: "the body did not arrive whole"}
	}
	return raw, nil
}

// isEncoded reports whether the body is compressed, or encoded in another way.
func isEncoded(header http.Header) bool {
	return slices.ContainsFunc(header["Content-Encoding"], func(coding string) bool {
		return coding != "" && !strings.EqualFold(coding, "identity")
	})
}

// isJSON reports whether the header says that the body is JSON. A program may leave Content-Type out. A
// browser may not: any page can make it send a request without the header, and only with application/json
// does the browser ask first whether the page may (CORS). Browsers send Origin or Sec-Fetch-Site.
func isJSON(header http.Header) bool {
	kind := header.Get("Content-Type")
	browser := len(header["Origin"]) > 0 || len(header["Sec-Fetch-Site"]) > 0
	if kind == "" {
		return !browser
	}
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json") && !browser)
}

// parseRequest decodes a body. An empty one has no values: the key can be in the header.
func parseRequest(raw []byte) (request, *problem) {
	if len(bytes.Trim(raw, " \t\r\n")) == 0 {
		return request{}, nil
	}
	if !utf8.Valid(raw) { // encoding/json makes other names of it, and browsers do not take it
		return nil, &problem{status: http.StatusBadRequest, code: "bad_json", detail: "the body is not UTF-8"}
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
		return problemValue("%s must be %s", key, want)
	}
	return nil
}

func problemValue(format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: "bad_value", detail: fmt.Sprintf(format, args...)}
}
