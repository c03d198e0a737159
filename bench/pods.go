package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
	"github.com/rollcall-gateway/rollcall/internal/loopback"
)

// timesBetter is the goal for the CPU of a message between pods, compared with the best of the
// others.
const timesBetter = 4

// podsPeer is a kind of server that runs as two processes, which share channels; a floor is one.
type podsPeer struct {
	*peer
	// on returns the peer with servers that share channels through a Redis; nil: they do without.
	on func(redis string) *peer
}

func (b *bench) podsPeers() []podsPeer {
	all := []podsPeer{
		{peer: floorPeer(floorEach, "TCP, one server, one write a message (floor)")},
		{peer: rollcallPodsPeer()},
		{peer: centrifugePeer(""), on: centrifugePeer},
		{peer: nodePeer(socketioName, "Socket.IO", ""), on: func(redis string) *peer { return nodePeer(socketioName, "Socket.IO", redis) }},
	}
	return slices.DeleteFunc(all, func(p podsPeer) bool { return !b.wants(p.name) })
}

// rollcallPodsPeer is Rollcall as a cluster: each server has routes to those before it. Clients
// send only to channels that they have joined, so the publisher does not want its own messages.
func rollcallPodsPeer() *peer {
	p := rollcallPeer()
	var pods []string // addresses for each other
	p.start = func(ctx context.Context, b *bench) (*server.Process, error) {
		own, err := loopback.Address()
		if err != nil {
			return nil, err
		}
		lines := server.PodOptions("bench", len(pods), own, pods)
		pods = append(pods, own)
		return server.Caddy{Program: b.caddy, Dir: b.dir, Options: lines}.Start(ctx)
	}
	p.publish = func(message string) string {
		return fmt.Sprintf(`{"type":"send","channels":[%q],"message":%s,"echo":false}`, shared, message)
	}
	return p
}

// pods measures messages of a publisher on one server to listeners on another one.
func (b *bench) pods(ctx context.Context) error {
	listeners, size := slices.Max(b.listeners), slices.Min(b.sizes)
	peers := b.podsPeers()
	figures := make([]fanoutFigures, len(peers))
	for round := range b.rounds {
		for i, p := range peers {
			progress("fan-out between pods, round %d: %s", round+1, p.name)
			err := b.withPods(ctx, p, func(ctx context.Context, p *peer, pods, all server.Group) error {
				return b.podsRound(ctx, p, pods, all, listeners, size, &figures[i])
			})
			if err != nil {
				return err
			}
		}
	}
	b.podsTable(peers, figures, listeners, size)
	return nil
}

// withPods runs do with the servers of the peer's kind; all has their broker, too.
func (b *bench) withPods(ctx context.Context, p podsPeer, do func(ctx context.Context, p *peer, pods, all server.Group) error) error {
	if p.name == floorEach {
		return b.withMany(ctx, p.peer, 1, func(ctx context.Context, one []*server.Process) error {
			return do(ctx, p.peer, one, one)
		})
	}
	if p.on == nil {
		// New servers are another cluster, with a start of its own.
		one := rollcallPodsPeer()
		return b.withMany(ctx, one, 2, func(ctx context.Context, pods []*server.Process) error {
			if b.profile == "" {
				return do(ctx, one, pods, pods)
			}
			return b.profiled(ctx, pods[0], func() error {
				return b.profiled(ctx, pods[1], func() error { return do(ctx, one, pods, pods) })
			})
		})
	}
	start := func(ctx context.Context, _ *bench) (*server.Process, error) { return server.StartRedis(ctx) }
	return b.withMany(ctx, &peer{name: "redis-server", start: start}, 1, func(ctx context.Context, brokers []*server.Process) error {
		one := p.on(brokers[0].Address)
		return b.withMany(ctx, one, 2, func(ctx context.Context, pods []*server.Process) error {
			return do(ctx, one, pods, append(brokers, pods...))
		})
	})
}

func (b *bench) podsRound(ctx context.Context, p *peer, pods, all server.Group, listeners, size int, f *fanoutFigures) error {
	l, err := load.NewLoop()
	if err != nil {
		return err
	}
	defer l.Close()
	far := p.joining(pods[len(pods)-1])
	conns, err := l.OpenAll(ctx, listeners, func(int) *load.Plan { return far })
	if err != nil {
		return err
	}
	pub := &publisher{loop: l, from: conns[0], conns: conns, frame: load.AppendText(nil, []byte(p.publish(message(size))))}
	if len(pods) > 1 {
		near := p.greeting(pods[0])
		if p.name == rollcallName {
			near = p.joining(pods[0])
		}
		from, err := l.OpenAll(ctx, 1, func(int) *load.Plan { return near })
		if err != nil {
			return err
		}
		pub.from = from[0]
	}
	if err := pub.awaitPods(ctx); err != nil {
		return err
	}
	if err := pub.saturate(ctx, all, b.each, f); err != nil {
		return err
	}
	return pub.modest(ctx, all, b.each, f)
}

// awaitPods publishes until messages reach the listeners, which is when the servers have found each
// other, and then waits for those on their way.
func (p *publisher) awaitPods(ctx context.Context) error {
	const quiet = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p.begin()
	for p.delivered() == 0 {
		p.publish(1)
		if err := p.poll(ctx, quiet); err != nil {
			return fmt.Errorf("no message has reached the other server: %w", err)
		}
	}
	for before := 0; before < p.delivered() || p.delivered()%len(p.conns) > 0; {
		before = p.delivered()
		if err := p.poll(ctx, quiet); err != nil {
			return fmt.Errorf("%d messages have reached %d listeners on the other server: %w", p.delivered(), len(p.conns), err)
		}
	}
	return nil
}

// poll reads for d.
func (p *publisher) poll(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		if err := p.loop.Poll(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) podsTable(peers []podsPeer, figures []fanoutFigures, listeners, size int) {
	t := newTable("servers", "messages/s", "us each", "x Rollcall", "p50 ms", "p99 ms", fmt.Sprintf("us each at %d/s", modestRate), "x Rollcall")
	panel := newPanel(fmt.Sprintf("Between pods, %d bytes to %s, us of CPU a message delivered", size, thousands(listeners)))
	own, ownModest := math.NaN(), math.NaN()
	best, bestModest := math.NaN(), math.NaN() // of the others
	for i, p := range peers {
		cpu, modest := median(figures[i].cpu), median(figures[i].modest)
		switch p.name {
		case floorEach:
			continue
		case rollcallName:
			own, ownModest = cpu, modest
			continue
		}
		if math.IsNaN(best) || cpu < best {
			best = cpu
		}
		if math.IsNaN(bestModest) || modest < bestModest {
			bestModest = modest
		}
	}
	for i, p := range peers {
		f := figures[i]
		title := p.title
		if p.on != nil {
			title += ", Redis"
		}
		cpu, modest := median(f.cpu), median(f.modest)
		t.add(title, thousands(int(median(f.rate))), number(cpu), ratio(cpu, own),
			number(millis(percentile(f.latencies, 50))), number(millis(percentile(f.latencies, 99))), number(modest), ratio(modest, ownModest))
		panel.add(title, cpu)
	}
	if !math.IsNaN(own) && !math.IsNaN(best) {
		t.goal(least(best/own, timesBetter, fmt.Sprintf("%d x better than the best of the others at saturation (it is %s)", timesBetter, number(best/own))))
		t.goal(least(bestModest/ownModest, timesBetter, fmt.Sprintf("the same at %d messages a second (it is %s)", modestRate, number(bestModest/ownModest))))
	}
	b.section("Fan-out between pods", fmt.Sprintf("Messages of %d bytes from a publisher on one server to %s listeners on another one. us is the CPU of both servers and, for centrifuge with its "+
		"`RedisBroker` and Socket.IO with its Redis adapter, of redis-server %s, for each message delivered: at saturation, with %d messages in flight, "+
		"and at %d messages a second, where most of it is one write to each socket, as the floor shows. Rollcall's two pods need no broker. centrifuge is without presence, which it would keep in Redis.",
		size, thousands(listeners), redis(), inFlight, modestRate), t)
	b.plot(panel)
}
