package presence_test

import (
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// lines is an Encoder of lines for people. A real one encodes the protocol of the clients.
type lines struct{}

func (lines) Members(users []presence.View, _ presence.Fields) []byte {
	return fmt.Append(nil, known(users))
}

// known returns the users. The rules of these examples have no Shower.
func known(views []presence.View) (users []presence.User) {
	for _, v := range views {
		users = append(users, v.User)
	}
	return users
}

func (lines) Joined(j presence.Joined) []byte {
	if j.Watch == presence.WatchNone {
		return fmt.Appendf(nil, "joined %s, %v", j.Channel, j.Kind)
	}
	return fmt.Appendf(nil, "joined %s, %v: %d there %s", j.Channel, j.Kind, j.Count, j.Members)
}

func (lines) Left(_, channel string, reason presence.Reason) []byte {
	return fmt.Appendf(nil, "left %s %s", channel, reason)
}

func (lines) Presence(d presence.Diff) []byte {
	return fmt.Appendf(nil, "%s: %d there, joined %v, left %v", d.Channel, d.Count, known(d.Joined), known(d.Left))
}

func (lines) Message(channel string, from presence.Source, message []byte) []byte {
	if from.User == nil {
		return fmt.Appendf(nil, "%s: %s", channel, message)
	}
	return fmt.Appendf(nil, "%s, %s: %s", channel, from.User.ID, message)
}

func (lines) AppendUser(b []byte, u *presence.User, _ bool) []byte { return fmt.Appendln(b, *u) }

func (lines) AppendPrivate(b []byte, id presence.ID, u *presence.User, _ bool) []byte {
	return fmt.Appendln(b, id, u)
}

// screen is an Outbox that prints. A real one queues frames for a socket.
type screen string

func (s screen) Push(frame []byte) { fmt.Printf("%s < %s\n", string(s), frame) }

func (s screen) Queue(frames []byte, _ int) bool { s.Push(frames); return false }

func (s screen) Flush() {}

// connect does what a handler does with a new socket.
func connect(r *presence.Registry, user *presence.User, screenName screen) *presence.Conn {
	return connectBy(&presence.Rules{}, r, user, screenName)
}

func connectBy(
	rules presence.RulesSource, r *presence.Registry, user *presence.User, screenName screen,
) *presence.Conn {
	host, err := presence.ParseHostName("Portal.example.com:443")
	if err != nil {
		log.Fatal(err)
	}
	c, err := r.Connect(host, rules, user, screenName)
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// Two users meet in a channel. Each sees the other once, in the snapshot or in a diff.
func Example() {
	registry := presence.NewRegistry(lines{})
	ann := connect(registry, &presence.User{ID: "ann", Email: "ann@example.com"}, "ann")
	bob := connect(registry, &presence.User{ID: "bob"}, "bob")

	if err := ann.Join("salesRoom", presence.WatchList, ""); err != nil {
		log.Fatal(err)
	}
	if err := bob.Join("salesRoom", presence.WatchList, ""); err != nil {
		log.Fatal(err)
	}
	ann.Close()
	// Output:
	// ann < joined salesRoom, authenticated: 1 there [{ann ann@example.com  }]
	// ann < salesRoom: 2 there, joined [{bob   }], left []
	// bob < joined salesRoom, authenticated: 2 there [{ann ann@example.com  } {bob   }]
	// bob < salesRoom: 1 there, joined [], left [{ann ann@example.com  }]
}

// A backend asks who is connected. A user with two tabs is one entry.
func ExampleHost_Channels() {
	registry := presence.NewRegistry(lines{})
	for _, tab := range []screen{"first tab", "second tab"} {
		c := connect(registry, &presence.User{ID: "ann"}, tab)
		if err := c.Join("salesRoom", presence.WatchNone, ""); err != nil {
			log.Fatal(err)
		}
	}
	visitor := connect(registry, nil, "visitor")
	if err := visitor.Join("anonymousChat", presence.WatchNone, ""); err != nil {
		log.Fatal(err)
	}

	for _, host := range registry.Hosts() {
		for _, l := range host.Channels(presence.PerUser) {
			switch {
			case l.Kind == presence.Private: // one for each connection, with a random name
			case l.Users != nil:
				fmt.Println(l.Channel, l.Users)
			default:
				fmt.Println(l.Channel, l.Count)
			}
		}
		stats := host.Stats()
		fmt.Println(host.Name(), stats.Users, "user,", stats.Anonymous, "anonymous")
	}
	// Output:
	// first tab < joined salesRoom, authenticated
	// second tab < joined salesRoom, authenticated
	// visitor < joined anonymousChat, anonymous
	// anonymousChat 1
	// salesRoom [{ann   }]
	// portal.example.com 1 user, 1 anonymous
}

// A connection logs in while it is open, and may then join an authenticated channel.
func ExampleConn_Authenticate() {
	registry := presence.NewRegistry(lines{})
	c := connect(registry, nil, "visitor")
	err := c.Join("salesRoom", presence.WatchCount, "")
	fmt.Println(errors.Is(err, presence.ErrLoginRequired))

	if err := c.Authenticate(presence.User{ID: "ann"}, nil); err != nil {
		log.Fatal(err)
	}
	if err := c.Join("salesRoom", presence.WatchCount, ""); err != nil {
		log.Fatal(err)
	}
	// Output:
	// true
	// visitor < joined salesRoom, authenticated: 1 there
}

// portal is a site whose rules can be replaced.
type portal struct{ atomic.Pointer[presence.Rules] }

func (p *portal) Rules() *presence.Rules { return p.Load() }

// New rules also apply to active channels. A connection that may no longer listen receives a frame.
func ExampleHost_Reclassify() {
	registry := presence.NewRegistry(lines{})
	var rules portal
	rules.Store(&presence.Rules{})
	c := connectBy(&rules, registry, nil, "visitor")
	if err := c.Join("anonymousChat", presence.WatchNone, ""); err != nil {
		log.Fatal(err)
	}
	rules.Store(&presence.Rules{
		Classifier: presence.Patterns{Authenticated: []string{"anonymousChat"}},
	})
	registry.Host(c.Host()).Reclassify()
	// Output:
	// visitor < joined anonymousChat, anonymous
	// visitor < left anonymousChat denied
}

// outgoing is a Relay that records which channels have changes. A real one sends them.
type outgoing struct{ channels []string }

func (*outgoing) Clock() uint64 { return uint64(time.Now().UnixMilli()) }

func (*outgoing) Opened(presence.HostName)            {}
func (*outgoing) Closed(presence.HostName)            {}
func (*outgoing) Informed(presence.HostName)          {}
func (*outgoing) Watched(presence.HostName, string)   {}
func (*outgoing) Unwatched(presence.HostName, string) {}

func (*outgoing) Send(presence.HostName, presence.Message) error { return nil }

func (o *outgoing) Changed(_ presence.HostName, channel string) {
	o.channels = append(o.channels, channel)
}

// Two pods have a user each in one channel. The change on the second pod is merged on the first,
// whose watcher sees both users.
func ExamplePods() {
	first, second := presence.NewRegistry(lines{}), presence.NewRegistry(lines{})
	first.Pods().SetRelay(new(outgoing))
	changes := new(outgoing)
	second.Pods().SetRelay(changes)

	ann := connect(first, &presence.User{ID: "ann"}, "ann")
	if err := ann.Join("salesRoom", presence.WatchList, ""); err != nil {
		log.Fatal(err)
	}
	first.Pods().Ready(ann.Host(), "salesRoom") // the second pod had no listener yet

	bob := connect(second, &presence.User{ID: "bob"}, "bob")
	if err := bob.Join("salesRoom", presence.WatchNone, ""); err != nil {
		log.Fatal(err)
	}
	for _, channel := range changes.channels {
		if delta, ok := second.Pods().Changes(bob.Host(), channel); ok {
			first.Pods().MergeDelta(ann.Host(), channel, "second", delta)
		}
	}
	// Output:
	// ann < joined salesRoom, authenticated: 1 there [{ann   }]
	// bob < joined salesRoom, authenticated
	// ann < salesRoom: 2 there, joined [{bob   }], left []
}

func ExamplePatterns() {
	site := presence.Patterns{
		Authenticated: []string{"vip-*"},
		Anonymous:     []string{"lobby-*", "*-lounge"},
	}
	for _, channel := range []string{"lobby-1", "vip-lounge", "anonymousChat", "salesRoom"} {
		class, _ := site.Classify(presence.HostName{}, channel)
		fmt.Println(channel, class.Kind)
	}
	// Output:
	// lobby-1 anonymous
	// vip-lounge authenticated
	// anonymousChat anonymous
	// salesRoom authenticated
}

func ExampleParseHostName() {
	for _, text := range []string{"Portal.EXAMPLE.com:8443", "münchen.example.", "[2001:db8::1]:443", "no host"} {
		host, err := presence.ParseHostName(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(host)
	}
	// Output:
	// portal.example.com
	// xn--mnchen-3ya.example
	// 2001:db8::1
	// not a host name: character not allowed
}
