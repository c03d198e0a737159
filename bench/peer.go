package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// peer is a kind of server, with its protocol for clients.
type peer struct {
	name  string
	title string // name in tables
	start func(ctx context.Context, b *bench) (*server.Process, error)

	path    string                             // of the websocket; "" for raw TCP
	secure  bool                               // over TLS
	greet   []load.Step                        // until the connection is established
	join    func(k int, name string) load.Step // joins the k-th channel of a connection; Await is the start of the answer
	joined  string                             // part of each answer to a join
	publish func(message string) string        // returns the frame that sends a message to channel 0

	personal func(i int, plan *load.Plan) // changes the plan of the i-th held connection; nil: all are alike

	// native reports whether the i-th connection of a fan-out speaks Rollcall's protocol instead;
	// nil: none does.
	native func(i int) bool

	ping, pong string // text frames that keep a connection alive
}

// shared is the channel that messages are sent to. It needs no login.
const shared = "anonymous-bench"

// greeting is the plan of connections that join no channel.
func (p *peer) greeting(s *server.Process) *load.Plan {
	return &load.Plan{Address: s.Address, Path: p.path, Host: s.Host, Steps: slices.Clone(p.greet), Ping: p.ping, Pong: p.pong}
}

// joining is the plan of connections that join the shared channel. For a floor, being connected is
// enough.
func (p *peer) joining(s *server.Process) *load.Plan {
	plan := p.greeting(s)
	if p.join != nil {
		step := p.join(0, shared)
		plan.Steps = append(plan.Steps, load.Step{Send: step.Send}, load.Step{Await: step.Await})
	}
	return plan
}

// peers returns all peers by name.
func (b *bench) peers() []*peer {
	return []*peer{
		floorPeer(floorGoroutine, "TCP, a goroutine each (floor)"),
		floorPeer(floorParked, "TCP, parked on epoll (floor)"),
		floorPeer(floorEach, "TCP, one write a message (floor)"),
		floorPeer(floorJoined, "TCP, pending in one write (floor)"),
		rollcallPeer(), centrifugePeer(""),
		nodePeer("ws", "ws", ""), nodePeer(socketioName, "Socket.IO", ""),
	}
}

// only returns the peers with these names, in the order of all peers, without those that the user
// did not select.
func (b *bench) only(names ...string) []*peer {
	return slices.DeleteFunc(b.peers(), func(p *peer) bool {
		return !b.wants(p.name) || !slices.Contains(names, p.name)
	})
}

// with runs do with a server of the peer's kind.
func (b *bench) with(ctx context.Context, p *peer, do func(ctx context.Context, s *server.Process) error) error {
	return b.withMany(ctx, p, 1, func(ctx context.Context, all []*server.Process) error {
		if b.profile != "" && p.name == rollcallName {
			return b.profiled(ctx, all[0], func() error { return do(ctx, all[0]) })
		}
		return do(ctx, all[0])
	})
}

// withMany runs do with n servers of the peer's kind.
func (b *bench) withMany(ctx context.Context, p *peer, n int, do func(ctx context.Context, all []*server.Process) error) (err error) {
	var all []*server.Process
	defer func() {
		for _, s := range all {
			if stopped := s.Stop(); err == nil {
				err = stopped
			}
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", p.name, err)
		}
	}()
	for range n {
		s, err := p.start(ctx, b)
		if err != nil {
			return err
		}
		all = append(all, s)
		if err := s.Await(ctx); err != nil {
			return err
		}
	}
	return do(ctx, all)
}
