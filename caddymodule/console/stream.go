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

	// streamLife is how long a stream lasts. The page then opens another, for which the handlers
	// before the console decide again whether it may be seen.
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

// stream sends a snapshot after each interval: the whole one if it has changed, and otherwise only
// that it has not. While the next snapshot is made, or has to wait, it says after each interval how
// old the last one is. It returns when the client is gone or too slow, the context ends, or the
// server shuts down.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, v *Visit, q query) {
	out := http.NewResponseController(w)
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }() // the connection may serve other requests
	ctx, cancel := context.WithCancel(ctx)
	made := make(chan shot, 1)
	making := false
	defer func() {
		cancel()
		if making {
			<-made // it counts as a part of the stream, whose number is limited
		}
	}()
	begin := func() {
		making = true
		go func() { // ends with the context
			var next shot
			defer func() {
				next.panicked = recover()
				made <- next
			}()
			next = s.shoot(ctx, v, q)
		}()
	}
	begin()
	var last shot
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		var view []byte
		select {
		case <-ctx.Done():
			return
		case <-v.Ended:
			return
		case next := <-made:
			making = false
			if next.panicked != nil {
				panic(next.panicked) // for the server, which ends the request only
			}
			if next.body == nil {
				return
			}
			if !bytes.Equal(next.body, last.body) {
				view = fmt.Appendf(nil, "event: view\ndata: %s\n\n", next.body)
			}
			last = next
		case now := <-ticker.C:
			if !making && !now.Before(last.due) {
				begin()
				continue
			}
			if last.body == nil {
				continue
			}
		}
		if v.hasEnded() || ctx.Err() != nil {
			return
		}
		now, _ := json.Marshal(beat{last.start.UnixMilli(), time.Since(last.taken).Milliseconds()}) // never fails for numbers
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := fmt.Fprintf(w, "event: beat\ndata: %s\n\n%s", now, view)
		if err != nil || out.Flush() != nil {
			return
		}
	}
}

// shot is a snapshot, encoded.
type shot struct {
	body  []byte    // nil if it cannot be encoded
	start time.Time // time at which it was begun
	taken time.Time // time of its oldest part
	due   time.Time // time of the next one

	panicked any // not nil if it failed
}

func (s *Server) shoot(ctx context.Context, v *Visit, q query) shot {
	start := time.Now()
	snap, stale := s.take(ctx, v, q)
	body, err := json.Marshal(&snap)
	if err != nil {
		body = nil
	}
	end := time.Now()
	return shot{body: body, start: start, taken: end.Add(-stale), due: end.Add(restAfter(end.Sub(start), snap.Complete))}
}
