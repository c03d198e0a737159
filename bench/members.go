package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// The members in the listings: every user is in every channel.
const (
	memberUsers    = 1000
	memberChannels = 100
)

func memberChannel(k int) string { return fmt.Sprintf("members-%d", k) }

// membersFigures holds the figures of one peer, one value per round.
type membersFigures struct {
	rate, cpu []float64    // joins per second, and us of the server's CPU each
	listings  [3][]listing // of 1,000 members, of all members, and of all after each change
}

// listing is the cost of answers that list members.
type listing struct {
	speed float64 // MB of JSON per second of the server's CPU
	took  float64 // ms on the clock for one answer
	size  float64 // MB of one answer
}

// members measures joins, and listings of members.
func (b *bench) members(ctx context.Context) error {
	peers := b.only(rollcallName, centrifugeName, "ws", "socketio")
	figures := make([]membersFigures, len(peers))
	for round := range b.rounds {
		for i, p := range peers {
			progress("joins and listings, round %d: %s", round+1, p.name)
			err := b.with(ctx, p, func(ctx context.Context, s *server.Process) error { return b.membersRound(ctx, p, s, &figures[i]) })
			if err != nil {
				return err
			}
		}
	}
	joins := newTable("server", "joins/s", "us each")
	for i, p := range peers {
		joins.add(p.title, thousands(int(median(figures[i].rate))), number(median(figures[i].cpu)))
	}
	b.section("Joining", fmt.Sprintf("%s connections join %d channels each, all of them the same channel at the same time. us is server CPU for each join. "+
		"Only Rollcall and centrifuge keep a list of the users in a channel.", thousands(memberUsers), memberChannels), joins)
	lists := newTable("server and listing", "MB each", "MB per CPU second", "ms each")
	panel := newPanel("Listing of 100,000 members, MB of JSON per CPU second (more is better)")
	for i, p := range peers {
		for kind, title := range []string{"1,000 members", "100,000 members", "100,000 members, one channel changed before each"} {
			all := figures[i].listings[kind]
			if len(all) == 0 {
				continue
			}
			value := func(of func(listing) float64) float64 { return median(apply(all, of)) }
			speed := value(func(l listing) float64 { return l.speed })
			if kind == 1 && p.name == rollcallName {
				lists.goal("100,000 members " + least(speed, 1000, "1,000 MB per CPU second"))
			}
			lists.add(p.title+": "+title, number(value(func(l listing) float64 { return l.size })), number(speed),
				number(value(func(l listing) float64 { return l.took })))
			switch kind {
			case 1:
				panel.add(p.title, speed)
			case 2:
				panel.add(p.title+", changed", speed)
			}
		}
	}
	b.section("Listing", fmt.Sprintf("The members of one channel, and of all %d, one answer at a time. Rollcall: `POST /message/users` through Caddy, with ids and e-mail addresses. "+
		"centrifuge: a `presence` command for each channel, with ids only.", memberChannels), lists)
	b.plot(panel)
	return nil
}

func (b *bench) membersRound(ctx context.Context, p *peer, s *server.Process, f *membersFigures) error {
	l, err := load.NewLoop()
	if err != nil {
		return err
	}
	defer l.Close()
	conns, err := l.OpenAll(ctx, memberUsers, func(i int) *load.Plan {
		plan := p.greeting(s)
		if p.name == rollcallName {
			plan.Header = load.Bearer(server.TokenSecret, userID(i), fmt.Sprintf("first.last.%08d@customers.portal.example.com", i))
		}
		return plan
	})
	if err != nil {
		return err
	}
	l.Answer = []byte(p.joined)
	used, took, err := measure(s, func() error {
		for k := range memberChannels {
			frame := load.AppendText(nil, []byte(p.join(k, memberChannel(k)).Send))
			for _, c := range conns {
				c.Write(frame)
			}
			if err := l.PollUntil(ctx, func() bool { return l.Answers >= (k+1)*len(conns) }); err != nil {
				return fmt.Errorf("%d joins were answered: %w", l.Answers, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	const joins = memberUsers * memberChannels
	f.rate, f.cpu = append(f.rate, joins/took.Seconds()), append(f.cpu, micros(used)/joins)

	var asks [3]func() (int, error)
	switch p.name {
	case rollcallName:
		asks = askRollcall(ctx, l, conns[0], s)
	case centrifugeName:
		asks = askCentrifuge(ctx, l, conns[0])
	}
	for kind, ask := range asks {
		if ask == nil {
			continue
		}
		got, err := b.list(s, ask)
		if err != nil {
			return err
		}
		f.listings[kind] = append(f.listings[kind], got)
	}
	return nil
}

// list requests a listing repeatedly for some time.
func (b *bench) list(s *server.Process, ask func() (int, error)) (listing, error) {
	if _, err := ask(); err != nil { // warm up
		return listing{}, err
	}
	size, answers := 0, 0
	used, took, err := measure(s, func() error {
		for end := time.Now().Add(b.each); time.Now().Before(end); answers++ {
			n, err := ask()
			if err != nil {
				return err
			}
			size += n
		}
		return nil
	})
	if err != nil {
		return listing{}, err
	}
	const mb = 1e6
	return listing{
		speed: float64(size) / mb / used.Seconds(),
		took:  millis(took) / float64(answers),
		size:  float64(size) / mb / float64(answers),
	}, nil
}

// askRollcall returns the requests for the three listings. Each returns the size of the JSON in
// bytes.
func askRollcall(ctx context.Context, l *load.Loop, c *load.Conn, s *server.Process) [3]func() (int, error) {
	buffer := make([]byte, 256<<10)
	post := func(body string) (int, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Address+"/message/users", strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		size := 0
		for err == nil {
			var n int
			n, err = resp.Body.Read(buffer)
			size += n
		}
		if !errors.Is(err, io.EOF) || resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("a listing of %d bytes was answered %s: %w", size, resp.Status, err)
		}
		return size, nil
	}
	one := func() (int, error) { return post(fmt.Sprintf(`{"channel":%q}`, memberChannel(0))) }
	all := func() (int, error) { return post(`{}`) }
	changed := func() (int, error) {
		before := l.Answers
		c.Send(fmt.Sprintf(`{"type":"leave","channel":%q}`, memberChannel(0)))
		c.Send(fmt.Sprintf(`{"type":"join","channel":%q}`, memberChannel(0)))
		if err := l.PollUntil(ctx, func() bool { return l.Answers > before }); err != nil {
			return 0, err
		}
		return all()
	}
	return [3]func() (int, error){one, all, changed}
}

// askCentrifuge returns the requests for the listings of centrifuge's protocol.
func askCentrifuge(ctx context.Context, l *load.Loop, c *load.Conn) [3]func() (int, error) {
	ask := func(channels int) (int, error) {
		l.Answer = []byte(`"presence":{"presence"`)
		answers, size := l.Answers, l.Bytes
		for k := range channels {
			c.Send(fmt.Sprintf(`{"id":%d,"presence":{"channel":%q}}`, 1000+k, memberChannel(k)))
			// Not all at once, because that exceeds the limit of a client's queue.
			if err := l.PollUntil(ctx, func() bool { return l.Answers == answers+k+1 }); err != nil {
				return 0, err
			}
		}
		return l.Bytes - size, nil
	}
	return [3]func() (int, error){
		func() (int, error) { return ask(1) },
		func() (int, error) { return ask(memberChannels) },
	}
}
