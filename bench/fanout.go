package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

const (
	inFlight   = 32  // unfinished messages at saturation
	modestRate = 10  // messages per second while latency is measured
	maxPublish = 1e6 // messages; bounds a run in any case
)

// fanoutFigures holds the figures of one peer and one size, one value per round; latencies are of
// all deliveries in all rounds.
type fanoutFigures struct {
	rate, cpu []float64 // deliveries per second, and us of the server's CPU each
	modest    []float64 // us per delivery at a modest rate
	latencies []time.Duration
}

// fanout measures messages of one publisher to many listeners.
func (b *bench) fanout(ctx context.Context) error {
	fmt.Fprintf(&b.text, "\n## Fan-out\n\nOne publisher. The first figures are at saturation, with %d messages in flight: deliveries a second, and server CPU for each. "+
		"The last three are at %d messages a second; latency runs from before the write to after the read, over all deliveries.\n", inFlight, modestRate)
	for _, listeners := range b.listeners {
		peers := b.only(floorEach, floorJoined, rollcallName, centrifugeName, "ws", "socketio")
		figures := make([][]fanoutFigures, len(b.sizes)) // by size, then by peer
		for i := range figures {
			figures[i] = make([]fanoutFigures, len(peers))
		}
		for round := range b.rounds {
			for i, p := range peers {
				progress("fan-out to %d, round %d: %s", listeners, round+1, p.name)
				err := b.with(ctx, p, func(ctx context.Context, s *server.Process) error {
					return b.fanoutRound(ctx, p, s, listeners, func(size int) *fanoutFigures { return &figures[size][i] })
				})
				if err != nil {
					return err
				}
			}
		}
		for i, size := range b.sizes {
			b.fanoutSection(listeners, size, peers, figures[i])
		}
	}
	return nil
}

func (b *bench) fanoutRound(ctx context.Context, p *peer, s *server.Process, listeners int, of func(size int) *fanoutFigures) error {
	l, err := load.NewLoop()
	if err != nil {
		return err
	}
	defer l.Close()
	conns, err := l.OpenAll(ctx, listeners, p.plans(s))
	if err != nil {
		return err
	}
	for i, size := range b.sizes {
		f := of(i)
		pub := &publisher{loop: l, from: conns[0], conns: conns, frame: load.AppendText(nil, []byte(p.publish(message(size))))}
		if err := pub.saturate(ctx, s, b.each, f); err != nil {
			return fmt.Errorf("%d bytes to %d: %w", size, listeners, err)
		}
		if err := pub.modest(ctx, s, b.each, f); err != nil {
			return fmt.Errorf("%d bytes to %d: %w", size, listeners, err)
		}
	}
	return nil
}

// message returns a JSON object of size bytes, with one mark.
func message(size int) string {
	const begin, end = `{"text":"` + string(load.Mark), `"}`
	return begin + strings.Repeat("x", size-len(begin)-len(end)) + end
}

// publisher sends the messages of a fan-out.
type publisher struct {
	loop  *load.Loop
	from  *load.Conn   // sends the messages; in a fan-out on one server, a listener too
	conns []*load.Conn // the listeners: the first connections of the loop
	frame []byte
	sent  int
	base  int // the loop's message count at the start
}

// begin resets the counts.
func (p *publisher) begin() { p.sent, p.base = 0, p.loop.Messages }

// delivered returns the number of delivered messages, and drained whether all were delivered.
func (p *publisher) delivered() int { return p.loop.Messages - p.base }
func (p *publisher) drained() bool  { return p.delivered() == p.sent*len(p.conns) }

// publish sends n messages in one write.
func (p *publisher) publish(n int) {
	p.sent += n
	if n == 1 {
		p.from.Write(p.frame)
		return
	}
	frames := make([]byte, 0, n*len(p.frame))
	for range n {
		frames = append(frames, p.frame...)
	}
	p.from.Write(frames)
}

// drain waits for the messages in flight. It fails if some are missing after a while.
func (p *publisher) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := p.loop.PollUntil(ctx, p.drained); err != nil {
		return fmt.Errorf("%d of %d messages were delivered: %w", p.delivered(), p.sent*len(p.conns), err)
	}
	return nil
}

// saturate keeps inFlight messages in flight for d.
func (p *publisher) saturate(ctx context.Context, s clock, d time.Duration, f *fanoutFigures) error {
	run := func(d time.Duration) error {
		p.begin()
		end := time.Now().Add(d)
		for time.Now().Before(end) && p.sent < maxPublish {
			if due := inFlight - (p.sent - p.delivered()/len(p.conns)); due > 0 {
				p.publish(due)
			}
			if err := p.loop.Poll(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
		return p.drain(ctx)
	}
	if err := run(d / 4); err != nil { // warm up
		return err
	}
	used, took, err := measure(s, func() error { return run(d) })
	if err != nil {
		return err
	}
	n := float64(p.delivered())
	f.rate = append(f.rate, n/took.Seconds())
	f.cpu = append(f.cpu, micros(used)/n)
	return nil
}

// modest publishes at a fixed rate and records when each listener has received each message.
// Messages arrive in order, so a connection's count identifies the message.
func (p *publisher) modest(ctx context.Context, s clock, d time.Duration, f *fanoutFigures) error {
	p.begin()
	got := make([]int, len(p.conns))
	var sent []time.Time
	p.loop.OnMessages = func(c *load.Conn, n int) {
		now := time.Now()
		for range n {
			f.latencies = append(f.latencies, now.Sub(sent[got[c.Number]]))
			got[c.Number]++
		}
	}
	defer func() { p.loop.OnMessages = nil }()
	used, _, err := measure(s, func() error {
		const interval = time.Second / modestRate
		next := time.Now()
		for end := next.Add(d); next.Before(end); next = next.Add(interval) {
			for time.Until(next) > 0 {
				if err := p.loop.Poll(ctx, min(time.Until(next)+time.Millisecond, interval)); err != nil {
					return err
				}
			}
			sent = append(sent, time.Now())
			p.publish(1)
		}
		return p.drain(ctx)
	})
	if err != nil {
		return err
	}
	f.modest = append(f.modest, micros(used)/float64(p.delivered()))
	return nil
}

func (b *bench) fanoutSection(listeners, size int, peers []*peer, figures []fanoutFigures) {
	cpu := make(map[string]float64)
	for i, p := range peers {
		cpu[p.name] = median(figures[i].cpu)
	}
	t := newTable("server", "messages/s", "us each", "x floor", "x centrifuge", "p50 ms", "p99 ms", fmt.Sprintf("us each at %d/s", modestRate))
	panel := newPanel(fmt.Sprintf("Fan-out of %d bytes to %s, us of CPU a message delivered", size, thousands(listeners)))
	latency := newPanel(fmt.Sprintf("p99 to %s at %d messages a second, ms", thousands(listeners), modestRate))
	for i, p := range peers {
		f := figures[i]
		if most, ok := map[int]float64{1000: 0.25, 5000: 0.35}[listeners]; ok && size == 100 && p.name == rollcallName {
			t.goal(goal(cpu[p.name], most, fmt.Sprintf("%g us", most)))
			if theirs, ok := cpu[centrifugeName]; ok {
				t.goal(goal(cpu[p.name], theirs/4, "a quarter of centrifuge's"))
			}
		}
		t.add(p.title, thousands(int(median(f.rate))), number(cpu[p.name]),
			ratio(cpu[p.name], cpu[floorJoined]), ratio(cpu[p.name], cpu[centrifugeName]),
			number(millis(percentile(f.latencies, 50))), number(millis(percentile(f.latencies, 99))), number(median(f.modest)))
		panel.add(p.title, cpu[p.name])
		latency.add(p.title, millis(percentile(f.latencies, 99)))
	}
	fmt.Fprintf(&b.text, "\n### %d bytes to %s listeners\n\n", size, thousands(listeners))
	t.write(&b.text)
	b.plot(panel)
	if size == b.sizes[0] {
		b.plot(latency)
	}
}
