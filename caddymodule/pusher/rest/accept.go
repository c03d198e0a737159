package rest

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// maxBody is the maximum size of a body in bytes, whatever the limits of events.
const maxBody = 1 << 20

// bodyLimit returns the maximum size of a body. Data is text in JSON, which needs more bytes than
// the text, and names of channels need room, too.
func bodyLimit(c *app.Config) int64 {
	return min(maxBody, int64(c.EventSize)*int64(max(c.BatchSize, 10))*2+64<<10)
}

// accept reads a request and checks who has signed it.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, c *call) (*request, *failure) {
	asked, err := presence.ParseHostName(r.Host)
	if err != nil {
		return nil, failed(problem.BadHost())
	}
	c.host = asked
	of, p := c.by.Owner(asked)
	if p != nil {
		return nil, failed(p)
	}
	limit := int64(maxBody)
	if of.Pusher != nil {
		limit = bodyLimit(of.Pusher)
	}
	if r.ContentLength > limit {
		return nil, fail(http.StatusRequestEntityTooLarge, "the body is over %d KiB", limit>>10)
	}
	// Whoever has no business here must not take one of the site's places for large bodies.
	if p := c.by.CheckAddress(r); p != nil {
		return nil, failed(p)
	}
	if _, e := findApp(of, c.appID); e != nil {
		return nil, e
	}
	body, p := api.ReadBody(w, r, limit, of)
	if p != nil {
		return nil, failed(p)
	}
	// Look the site up again: while the body arrived, a reload may have removed the key or the
	// address.
	if of, p = c.by.Owner(asked); p != nil {
		return nil, failed(p)
	}
	if p := c.by.CheckAddress(r); p != nil {
		return nil, failed(p)
	}
	a, e := findApp(of, c.appID)
	if e != nil {
		return nil, e
	}
	params, e := s.verify(r, of.Pusher, a, body, c.by.Client(r))
	if e != nil {
		return nil, e
	}
	q := &request{site: of, host: asked, config: of.Pusher, args: c.args, params: params, body: body}
	if a.Host == (presence.HostName{}) || a.Host == asked {
		return q, nil
	}
	q.host, c.host = a.Host, a.Host
	if q.site, p = c.by.Other(r, of, a.Host); p != nil {
		return nil, failed(p)
	}
	return q, nil
}

func findApp(of *site.Site, escaped string) (*app.App, *failure) {
	id, err := url.PathUnescape(escaped)
	if err == nil && of.Pusher != nil {
		if a := of.Pusher.ByID(id); a != nil {
			return a, nil
		}
	}
	return nil, fail(http.StatusNotFound, "this site has no app with this id: compare it with the id of an app in the pusher block")
}

// verify checks the signature of a request, and counts wrong ones.
func (s *Server) verify(r *http.Request, c *app.Config, a *app.App, body []byte, client netip.Prefix) (app.Params, *failure) {
	now := time.Now()
	signed := s.Received(r)
	q := app.Request{Method: r.Method, Path: signed.EscapedPath(), Prefix: c.Path, Query: signed.RawQuery, Body: body}
	params, err := a.VerifyRequest(q, now)
	if here := r.URL.EscapedPath(); errors.Is(err, app.ErrBadSignature) && here != q.Path {
		q.Path = here // a handler before this one took a prefix away that some libraries do not sign
		if found, again := a.VerifyRequest(q, now); !errors.Is(again, app.ErrBadSignature) {
			params, err = found, again
		}
	}
	wrong := errors.Is(err, app.ErrUnknownKey) && hasKey(q.Query) || errors.Is(err, app.ErrBadSignature)
	if wait := s.BadKey(keySet(a), client, !wrong, now); wait > 0 {
		return nil, &failure{
			status: http.StatusTooManyRequests, retry: wait,
			text: "too many wrong keys or signatures from this address: wait, then send a valid one",
		}
	}
	if err != nil {
		return nil, fail(http.StatusUnauthorized, "%s", err)
	}
	return params, nil
}

// hasKey reports whether a query names a key: a missing one is no attempt to guess it.
func hasKey(query string) bool {
	params, err := app.ParseParams(query)
	return err == nil && params.Get("auth_key") != ""
}

// keySet returns a hash of the app and its keys, by which wrong ones are counted.
func keySet(a *app.App) [sha256.Size]byte {
	text := []byte("pusher app\x00" + a.ID)
	for _, k := range a.Keys {
		text = append(append(text, 0), k.Key...)
	}
	return sha256.Sum256(text)
}
