package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// idle measures the memory of silent connections that have joined one channel.
func (b *bench) idle(ctx context.Context) error {
	limit, err := load.MaxConns()
	if err != nil {
		return err
	}
	for i, conns := range b.conns {
		parts := load.Divide(conns, limit)
		t := newTable("server", "as it stands", "after a collection")
		panel := newPanel(fmt.Sprintf("Idle memory a connection, %s connections, KB", thousands(conns)))
		peers := b.only(floorGoroutine, floorParked, rollcallName, centrifugeName, "ws", "socketio")
		if i == 0 && b.wants(rollcallName) {
			peers = append(peers, rollcallTLSPeer(), rollcallInfoPeer())
		}
		for _, p := range peers {
			progress("idle memory, %d connections: %s", conns, p.name)
			now, after, err := b.idleOf(ctx, p, parts)
			if err != nil {
				return err
			}
			switch p.name {
			case rollcallName:
				t.goal(goal(after, 8, "8 KB") + ", " + goal(after, 3, "3 KB"))
			case "rollcall-tls":
				t.goal("over TLS " + goal(after, 18, "18 KB"))
			case rollcallInfoName:
				t.goal("with info " + goal(after, 2.5, "2.5 KB"))
			}
			t.add(p.title, number(now), number(after))
			panel.add(p.title, after)
		}
		text := "KB of the server's own memory (RssAnon) for each silent connection in one channel."
		if i > 0 {
			text = "The same."
		}
		if len(parts) > 1 {
			text += fmt.Sprintf(" A process may open %s files here, so each server runs as %d processes.",
				thousands(limit), len(parts))
		}
		b.section(fmt.Sprintf("Idle memory, %s connections", thousands(conns)), text, t)
		b.plot(panel)
	}
	return nil
}

// idleOf returns the KB per connection, as it is and after a garbage collection. Each part of the
// connections is on its own server, all at the same time.
func (b *bench) idleOf(ctx context.Context, p *peer, parts []int) (now, after float64, err error) {
	err = b.withMany(ctx, p, len(parts), func(ctx context.Context, all []*server.Process) (err error) {
		var holders []*holder
		defer func() {
			for _, h := range holders {
				err = errors.Join(err, h.stop())
			}
		}()
		conns := 0
		for i, s := range all {
			before, err := idleEmpty(ctx, p, s)
			if err != nil {
				return err
			}
			h, err := startHolder(ctx, p, s, parts[i])
			if err != nil {
				return err
			}
			holders = append(holders, h)
			stands, err := s.RSS()
			if err != nil {
				return err
			}
			now += float64(stands - before)
			after -= float64(before)
			conns += parts[i]
		}
		for _, s := range all {
			if err := s.Collect(ctx); err != nil {
				return err
			}
			settled, err := s.SettledRSS(ctx)
			if err != nil {
				return err
			}
			after += float64(settled)
		}
		now /= 1024 * float64(conns)
		after /= 1024 * float64(conns)
		return nil
	})
	return now, after, err
}

// idleEmpty returns the memory of a server without connections, after some have come and gone: what
// the first ones cost once is not a cost per connection.
func idleEmpty(ctx context.Context, p *peer, s *server.Process) (int, error) {
	const warm = 200
	h, err := startHolder(ctx, p, s, warm)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(h.stop(), s.Collect(ctx)); err != nil {
		return 0, err
	}
	return s.SettledRSS(ctx)
}
