package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// Joins of the section about events: at this rate, 100,000 a minute.
const (
	eventUsers = 1000
	joinPause  = time.Minute / 100_000
)

// eventsFigures holds the figures of one setting.
type eventsFigures struct {
	cpu, p50, p99, worst float64 // us of the server's CPU each, and ms until the answer
	rss                  int     // growth of memory in bytes
	disk                 int64   // bytes of the queue's file
	events, requests     int64   // that the receiver has accepted
}

// events measures what events cost joins.
func (b *bench) events(ctx context.Context) error {
	if !b.wants(rollcallName) {
		return nil
	}
	t := newTable("events", "CPU us a join", "p50 ms", "p99 ms", "worst ms", "MB more", "MB on disk", "events", "requests")
	joins := eventUsers * b.eventRounds()
	for _, setting := range []struct{ title, option string }{
		{"off", ""},
		{"on", "queue 64MiB"},
		{"on, receiver down, `queue 4MiB`", "queue 4MiB"},
	} {
		progress("events %s", setting.title)
		f, err := b.eventsOf(ctx, setting.option, setting.option != "queue 4MiB")
		if err != nil {
			return fmt.Errorf("events %s: %w", setting.title, err)
		}
		const mb = 1 << 20
		t.add(setting.title, number(f.cpu), number(f.p50), number(f.p99), number(f.worst), number(float64(f.rss)/mb),
			number(float64(f.disk)/mb), thousands(int(f.events)), thousands(int(f.requests)))
	}
	b.section("Events", fmt.Sprintf("%s joins of %s users at 100,000 a minute, with a receiver of events on the same machine. Time is from when a join was due until its answer.",
		thousands(joins), thousands(eventUsers)), t)
	return nil
}

// eventRounds is how many channels each user joins.
func (b *bench) eventRounds() int { return max(b.connects/100, 10) }

func (b *bench) eventsOf(ctx context.Context, option string, up bool) (f eventsFigures, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return f, err
	}
	var accepted, requests atomic.Int64
	receiver := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Events []json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || !up {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		accepted.Add(int64(len(body.Events)))
		requests.Add(1)
	})}
	go func() { _ = receiver.Serve(l) }() // ends with Close
	defer func() { err = errors.Join(err, receiver.Close()) }()
	dir, err := os.MkdirTemp(b.dir, "events")
	if err != nil {
		return f, err
	}
	caddy := server.Caddy{Program: b.caddy, Dir: dir}
	if option != "" {
		caddy.Site = "events http://" + l.Addr().String() + "/ {\n\t\t\tsecret whsec_YW4gZXhhbXBsZSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw==\n\t\t\t" + option + "\n\t\t}"
	}
	p := rollcallPeer()
	p.start = func(ctx context.Context, b *bench) (*server.Process, error) { return caddy.Start(ctx) }
	err = b.with(ctx, p, func(ctx context.Context, s *server.Process) error {
		if err := b.joinPaced(ctx, p, s, &f); err != nil {
			return err
		}
		if up && option != "" { // what is delivered late counts, too
			want := int64(eventUsers * b.eventRounds())
			for accepted.Load() < want && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
		}
		f.events, f.requests = accepted.Load(), requests.Load()
		files, err := filepath.Glob(filepath.Join(dir, "*", "caddy", "rollcall", "backend", "events.db"))
		for _, file := range files {
			if info, err := os.Stat(file); err == nil {
				f.disk = info.Size()
			}
		}
		return err
	})
	return f, err
}

// joinPaced joins at a fixed rate, whatever the answers do.
func (b *bench) joinPaced(ctx context.Context, p *peer, s *server.Process, f *eventsFigures) error {
	l, err := load.NewLoop()
	if err != nil {
		return err
	}
	defer l.Close()
	conns, err := l.OpenAll(ctx, eventUsers, func(i int) *load.Plan {
		plan := p.greeting(s)
		plan.Header = load.Bearer(server.TokenSecret, userID(i), fmt.Sprintf("first.last.%08d@customers.portal.example.com", i))
		return plan
	})
	if err != nil {
		return err
	}
	before, err := s.SettledRSS(ctx)
	if err != nil {
		return err
	}
	n := eventUsers * b.eventRounds()
	took := make([]time.Duration, 0, n)
	due := make([]time.Time, n)
	l.OnText = func(_ *load.Conn, payload []byte) {
		if !bytes.Contains(payload, []byte(`"type":"joined"`)) {
			return
		}
		_, rest, _ := bytes.Cut(payload, []byte(`"id":`))
		if i, err := strconv.Atoi(string(rest[:bytes.IndexAny(rest, ",}")])); err == nil && i < n {
			took = append(took, time.Since(due[i]))
		}
	}
	start, sent := time.Now(), 0
	used, _, err := measure(s, func() error {
		for len(took) < n {
			for ; sent < n && time.Since(start) >= time.Duration(sent)*joinPause; sent++ {
				due[sent] = start.Add(time.Duration(sent) * joinPause)
				conns[sent%eventUsers].Send(fmt.Sprintf(`{"type":"join","id":%d,"channel":%q}`, sent, memberChannel(sent/eventUsers)))
			}
			if err := l.Poll(ctx, time.Millisecond); err != nil {
				return fmt.Errorf("%d of %d joins were answered: %w", len(took), n, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	after, err := s.RSS()
	if err != nil {
		return err
	}
	f.cpu, f.rss = micros(used)/float64(n), after-before
	f.p50, f.p99, f.worst = millis(percentile(took, 50)), millis(percentile(took, 99)), millis(percentile(took, 100))
	return nil
}
