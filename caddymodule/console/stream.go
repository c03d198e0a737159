package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
)

// Limits of streams.
const (
	maxStreams     = 64             // open at a time, in the whole process
	maxSiteStreams = maxStreams / 2 // of one site, so that no site takes those of all others
	maxUserStreams = 8              // of one user of a site; of one client address on a console that is open

	// streamLife is how long a stream lasts. The page then opens another, for which the handlers before the
	// console decide again whether it may be seen.
	streamLife = 5 * time.Minute

	// writeTimeout is how long a client may take to accept an event.
	writeTimeout = 10 * time.Second
)

// serveEvents answers with the event stream of a view.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request, v Visit) {
	if r.Method != http.MethodGet {
		problem.MethodNotAllowed("GET").Write(w)
		return
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		foreign().Write(w) // it could not read the stream, but it would take its place
		return
	}
	q, p := readQuery(r.URL.Query())
	if p == nil && s.cfg.Draining() {
		p = problem.Draining()
	}
	if p != nil {
		p.Write(w)
		return
	}
	release, ok := s.admit(&v)
	if !ok {
		(&problem.Problem{
			Status: http.StatusServiceUnavailable, Code: "busy", Retry: 5 * time.Second,
			Detail: "too many pages of the console are open: close some",
		}).Write(w)
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no")
	s.stream(ctx, w, &v, q)
}

// streamUser is a user of a site, whose streams count together. Users of two sites can have one ID.
type streamUser struct {
	site any
	user string       // "" on a console that is open
	net  netip.Prefix // of a client without a user
}

// admit counts a stream. It returns false if there are too many.
func (s *Server) admit(v *Visit) (release func(), ok bool) {
	user := streamUser{site: v.Site, user: v.User}
	if v.User == "" {
		user.net = v.Net
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= maxStreams || s.bySite[v.Site] >= maxSiteStreams || s.byUser[user] >= maxUserStreams {
		return func() {}, false
	}
	s.streams++
	s.bySite[v.Site]++
	s.byUser[user]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams--
		if s.bySite[v.Site]--; s.bySite[v.Site] == 0 {
			delete(s.bySite, v.Site)
		}
		if s.byUser[user]--; s.byUser[user] == 0 {
			delete(s.byUser, user)
		}
	}, true
}

// beat is the data of an event that changes nothing.
type beat struct {
	At    int64 `json:"at"`    // time of the last snapshot, as Unix time in milliseconds
	Stale int64 `json:"stale"` // age of the numbers in milliseconds
}

// stream sends a snapshot after each interval: the whole one if it has changed, and otherwise only that it has
// not. If the next snapshot has to wait, it says after each interval how old the last one is. It returns when the client is gone or too slow, the context ends, or the server shuts down.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, v *Visit, q query) {
	out := http.NewResponseController(w)
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }() // the connection may serve other requests
	var last []byte
	var start, taken, due time.Time // start of the last snapshot, age of its oldest part, and start of the next
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.Ended:
			return
		case <-timer.C:
		}
		if v.hasEnded() {
			return
		}
		var view []byte
		if now := time.Now(); !now.Before(due) {
			start = now
			snap, age := s.take(ctx, v, q)
			body, err := json.Marshal(&snap)
			if err != nil || ctx.Err() != nil {
				return
			}
			if !bytes.Equal(body, last) {
				view, last = fmt.Appendf(nil, "event: view\ndata: %s\n\n", body), body
			}
			end := time.Now()
			taken, due = end.Add(-age), end.Add(restAfter(end.Sub(start), snap.Complete))
		}
		now, _ := json.Marshal(beat{start.UnixMilli(), time.Since(taken).Milliseconds()}) // never fails for numbers
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := fmt.Fprintf(w, "event: beat\ndata: %s\n\n%s", now, view)
		if err != nil || out.Flush() != nil {
			return
		}
		timer.Reset(interval)
	}
}
