package main

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// connectFigures holds the figures of one peer, one value per round.
type connectFigures struct {
	rate, cpu         []float64 // connections per second, and us of the server's CPU each
	joinRate, joinCPU []float64 // the same with a join
}

// connect measures the rate at which a server opens connections, and the cost of each.
func (b *bench) connect(ctx context.Context) error {
	peers := b.only(floorGoroutine, rollcallName, centrifugeName, "ws", "socketio")
	figures := make([]connectFigures, len(peers))
	for round := range b.rounds {
		for i, p := range peers {
			progress("connecting, round %d: %s", round+1, p.name)
			err := b.with(ctx, p, func(ctx context.Context, s *server.Process) error { return b.connectRound(ctx, p, s, &figures[i]) })
			if err != nil {
				return err
			}
		}
	}
	t := newTable("server", "connects/s", "us each", "with a join/s", "us each")
	panel := newPanel("CPU of a connect with its join, us")
	cost := make(map[string]float64)
	for i, p := range peers {
		cost[p.name] = median(figures[i].joinCPU)
	}
	for i, p := range peers {
		f := figures[i]
		if p.name == rollcallName {
			t.goal("with a join " + goal(cost[p.name], 75, "75 us"))
			if theirs, ok := cost[centrifugeName]; ok {
				t.goal(goal(cost[p.name], theirs, "centrifuge's"))
			}
		}
		t.add(p.title, thousands(int(median(f.rate))), number(median(f.cpu)),
			thousands(int(median(f.joinRate))), number(median(f.joinCPU)))
		panel.add(p.title, median(f.joinCPU))
	}
	b.section("Connecting", "Up to 64 connections open at a time. us is server CPU for each connection. "+
		"A connect includes the greeting of the protocol; the floor has no handshake.", t)
	b.plot(panel)
	return nil
}

func (b *bench) connectRound(ctx context.Context, p *peer, s *server.Process, f *connectFigures) error {
	if _, _, err := connectAll(ctx, s, p.joining(s), b.connects/10); err != nil { // warm up
		return err
	}
	rate, cpu, err := connectAll(ctx, s, p.greeting(s), b.connects)
	if err != nil {
		return err
	}
	f.rate, f.cpu = append(f.rate, rate), append(f.cpu, cpu)
	rate, cpu, err = connectAll(ctx, s, p.joining(s), b.connects)
	f.joinRate, f.joinCPU = append(f.joinRate, rate), append(f.joinCPU, cpu)
	return err
}

// connectAll opens connections and closes them, and returns after the server has noticed.
func connectAll(ctx context.Context, s *server.Process, plan *load.Plan, conns int) (rate, cpu float64, err error) {
	files, err := s.Descriptors()
	if err != nil {
		return 0, 0, err
	}
	l, err := load.NewLoop()
	if err != nil {
		return 0, 0, err
	}
	used, took, err := measure(s, func() error {
		_, err := l.OpenAll(ctx, conns, func(int) *load.Plan { return plan })
		return err
	})
	l.Close()
	if err != nil {
		return 0, 0, err
	}
	return float64(conns) / took.Seconds(), micros(used) / float64(conns), s.AwaitDescriptors(ctx, files)
}

// clock has the CPU time of a server so far.
type clock interface {
	CPU() (time.Duration, error)
}

// measure returns the server's CPU time during do, and the duration of do.
func measure(s clock, do func() error) (used, took time.Duration, err error) {
	before, err := s.CPU()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	after, err := s.CPU()
	return after - before, took, err
}
