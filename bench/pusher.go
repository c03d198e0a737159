package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// Rollcall with clients of Pusher's protocol, alone and with others in the same channel.
const (
	rollcallPusherName = "rollcall-pusher"
	rollcallBothName   = "rollcall-both"
	rollcallMemberName = "rollcall-member"
	rollcallListedName = "rollcall-listed"
)

// The app of these servers.
const (
	benchKey    = "bench-app"
	benchSecret = "bench-secret-0123456789"
)

// mostOfNative is the goal for connections of Pusher's protocol, compared with Rollcall's own.
const mostOfNative = 1.1

// rollcallPusherPeer is Rollcall with clients of Pusher's protocol in a channel without prefix. The
// publisher speaks Rollcall's protocol, because clients of Pusher publish in private channels
// alone.
func rollcallPusherPeer() *peer {
	p := rollcallPeer()
	p.name, p.title = rollcallPusherName, "**Rollcall**, Pusher's protocol"
	p.start = func(ctx context.Context, b *bench) (*server.Process, error) {
		return server.Caddy{Program: b.caddy, Dir: b.dir, Site: "pusher {\n\t\t\tapp 101 " + benchKey + " " + benchSecret + "\n\t\t}"}.Start(ctx)
	}
	p.path = "/app/" + benchKey + "?protocol=7&client=js&version=8.6.0&flash=false"
	p.greet = []load.Step{{Await: `{"event":"pusher:connection_established"`}}
	p.join = func(_ int, name string) load.Step {
		return load.Step{
			Send:  fmt.Sprintf(`{"event":"pusher:subscribe","data":{"auth":"","channel":%q}}`, name),
			Await: `{"event":"pusher_internal:subscription_succeeded"`,
		}
	}
	p.native = func(i int) bool { return i == 0 }
	return p
}

// rollcallBothPeer is Rollcall with as many clients of Pusher's protocol as of its own in a
// channel.
func rollcallBothPeer() *peer {
	p := rollcallPusherPeer()
	p.name, p.title = rollcallBothName, "**Rollcall**, half and half"
	p.native = func(i int) bool { return i%2 == 0 }
	return p
}

// membersOfRoom is how many members a room has: each is told of all others.
const membersOfRoom = 20

// rollcallListedPeer is Rollcall with users in rooms, each with 200 bytes of info.
func rollcallListedPeer() *peer {
	p := rollcallInfoPeer()
	p.name, p.title = rollcallListedName, "**Rollcall**, rooms of 20 users with 200 bytes of `info`"
	p.join = nil
	login := p.personal
	p.personal = func(i int, plan *load.Plan) {
		login(i, plan)
		join := fmt.Sprintf(`{"type":"join","channel":"room-%d","presence":"list"}`, i/membersOfRoom)
		plan.Steps = slices.Concat(plan.Steps, []load.Step{{Send: join}, {Await: `{"type":"joined"`}}) // plans share them
	}
	return p
}

// rollcallMemberPeer is the same with Pusher's protocol: members of presence channels.
func rollcallMemberPeer() *peer {
	p := rollcallPusherPeer()
	p.name, p.title = rollcallMemberName, "**Rollcall**, Pusher's protocol, rooms of 20 members with 200 bytes of `user_info`"
	p.join = nil
	p.personal = func(i int, plan *load.Plan) {
		channel := fmt.Sprintf("presence-room-%d", i/membersOfRoom)
		member := fmt.Sprintf(`{"user_id":%q,"user_info":%s}`, userID(i), infoOf(i))
		plan.Steps = []load.Step{
			{Await: p.greet[0].Await, Answer: func(frame []byte) string {
				mac := hmac.New(sha256.New, []byte(benchSecret))
				fmt.Fprintf(mac, "%s:%s:%s", socketID.Find(frame), channel, member)
				return fmt.Sprintf(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":"%s:%x","channel_data":%q}}`, channel, benchKey, mac.Sum(nil), member)
			}},
			{Await: `{"event":"pusher_internal:subscription_succeeded"`},
		}
	}
	return p
}

var socketID = regexp.MustCompile(`[0-9]+\.[0-9]+`)

// plans returns the plan of each connection of a fan-out.
func (p *peer) plans(s *server.Process) func(i int) *load.Plan {
	own, native := p.joining(s), rollcallPeer().joining(s)
	return func(i int) *load.Plan {
		if p.native != nil && p.native(i) {
			return native
		}
		return own
	}
}

// closePairs is how many more fan-outs each round has of both protocols alone, in turn. They differ
// by less than two runs of one of them, so their medians need more runs than the comparison with
// other servers.
const closePairs = 3

// pusher measures connections of Pusher's protocol beside Rollcall's own and those of the peers.
func (b *bench) pusher(ctx context.Context) error {
	if !b.wants(rollcallName) {
		return nil
	}
	limit, err := load.MaxConns()
	if err != nil {
		return err
	}
	peers := slices.Concat(b.only(rollcallName), []*peer{rollcallPusherPeer(), rollcallBothPeer(), rollcallListedPeer(), rollcallMemberPeer()}, b.only(centrifugeName, "ws", "socketio"))
	memory := make([][]float64, len(peers)) // KB after a collection, by peer and round
	figures := make([]fanoutFigures, len(peers))
	conns, listeners, size := b.conns[0], slices.Max(b.listeners), slices.Min(b.sizes)
	one := *b
	one.sizes = []int{size}
	for round := range b.rounds {
		for i, p := range peers {
			progress("Pusher's protocol, round %d: %s", round+1, p.name)
			if p.name != rollcallBothName { // the memory of each half is known
				_, after, err := b.idleOf(ctx, p, load.Divide(conns, limit))
				if err != nil {
					return err
				}
				memory[i] = append(memory[i], after)
			}
			if p.personal != nil { // messages cost the same
				continue
			}
			if err := one.pusherFanout(ctx, p, listeners, &figures[i]); err != nil {
				return err
			}
		}
		for range closePairs {
			for i, p := range peers[:2] {
				progress("Pusher's protocol, round %d, again: %s", round+1, p.name)
				if err := one.pusherFanout(ctx, p, listeners, &figures[i]); err != nil {
					return err
				}
			}
		}
	}
	b.pusherTable(peers, memory, figures, conns, listeners, size)
	return nil
}

// pusherFanout measures one fan-out to the listeners.
func (b *bench) pusherFanout(ctx context.Context, p *peer, listeners int, f *fanoutFigures) error {
	return b.with(ctx, p, func(ctx context.Context, s *server.Process) error {
		return b.fanoutRound(ctx, p, s, listeners, func(int) *fanoutFigures { return f })
	})
}

func (b *bench) pusherTable(peers []*peer, memory [][]float64, figures []fanoutFigures, conns, listeners, size int) {
	t := newTable("server", "KB idle", "x native", "messages/s", "us each", "x native", "p50 ms", "p99 ms")
	native := slices.IndexFunc(peers, func(p *peer) bool { return p.name == rollcallName })
	kb, cpu := median(memory[native]), median(figures[native].cpu)
	for i, p := range peers {
		f := figures[i]
		cells := []string{p.title, number(median(memory[i])), ratio(median(memory[i]), kb), none, none, none, none, none}
		if len(f.rate) > 0 {
			cells = append(cells[:3], thousands(int(median(f.rate))), number(median(f.cpu)), ratio(median(f.cpu), cpu),
				number(millis(percentile(f.latencies, 50))), number(millis(percentile(f.latencies, 99))))
		}
		t.add(cells...)
		if p.name == rollcallPusherName {
			t.goal(goal(median(memory[i])/kb, mostOfNative, fmt.Sprintf("%.1f x the native memory", mostOfNative)))
			t.goal(goal(median(f.cpu)/cpu, mostOfNative, fmt.Sprintf("%.1f x the native CPU", mostOfNative)))
		}
	}
	b.section("Pusher's protocol", fmt.Sprintf("The memory of %s idle connections, in KB after a collection, and messages of %d bytes from one publisher to %s listeners, "+
		"at saturation and, for the latencies, at %d messages a second, as in the sections above. The publisher speaks Rollcall's protocol; its listeners, Pusher's, Rollcall's, or half of them each.",
		thousands(conns), size, thousands(listeners), modestRate), t)
}
