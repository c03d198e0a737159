package presence

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// mirror is what the parts of a Tap say.
type mirror struct {
	tap      *Tap
	noted    bool
	channels map[string]*mirrored
	stale    map[string]bool // channels that the whole part has not named yet
}

type mirrored struct {
	class Class
	conns int
	users map[string]string // e-mail address and info, by ID
}

func newMirror(r *Registry, host HostName, shard uint8) *mirror {
	m := &mirror{channels: make(map[string]*mirrored)}
	m.tap = r.Pods().Tap(host, shard, true, func() { m.noted = true })
	m.noted = true
	return m
}

// pull merges one part.
func (m *mirror) pull(t *testing.T, limit int) (more bool) {
	t.Helper()
	part, more := m.tap.Pull(limit)
	m.noted = more
	if part.First {
		m.stale = make(map[string]bool)
		for name := range m.channels {
			m.stale[name] = true
		}
	}
	for _, c := range part.Changes {
		delete(m.stale, c.Channel)
		ch := m.channels[c.Channel]
		if ch == nil {
			ch = &mirrored{users: make(map[string]string)}
			m.channels[c.Channel] = ch
		}
		ch.class, ch.conns = c.Class, c.Conns
		if c.Full {
			clear(ch.users)
		}
		for _, u := range c.Came {
			if c.Full && ch.users[u.ID] != "" {
				t.Errorf("%s: %s came twice", c.Channel, u.ID)
			}
			ch.users[u.ID] = u.Email + " " + u.Info
		}
		for _, left := range c.Left {
			delete(ch.users, left.ID)
		}
		if c.Class.Kind == 0 {
			delete(m.channels, c.Channel)
		}
	}
	if part.Whole {
		for name := range m.stale {
			delete(m.channels, name)
		}
		m.stale = nil
	}
	return more
}

func (m *mirror) text() string {
	var lines []string
	for name, ch := range m.channels {
		if name == "" && len(ch.users) == 0 {
			continue
		}
		users := make([]string, 0, len(ch.users))
		for id, known := range ch.users {
			users = append(users, id+" "+known)
		}
		slices.Sort(users)
		lines = append(lines, fmt.Sprintf("%q %v %d %s", name, ch.class, ch.conns, strings.Join(users, ",")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// truth returns what a mirror must have.
func truth(r *Registry, host HostName, shard uint8) string {
	m := &mirror{channels: make(map[string]*mirrored)}
	if h := r.Host(host); h != nil {
		online := make(map[string]string)
		for _, u := range h.online {
			if ShardOf(u.ID) == shard {
				online[u.ID] = u.Email + " " + u.known().Info
			}
		}
		m.channels[""] = &mirrored{class: Class{Kind: Authenticated}, users: online}
		for name, ch := range h.channels {
			if ShardOf(name) != shard || len(ch.listeners) == 0 {
				continue
			}
			users := make(map[string]string)
			for _, c := range ch.listeners {
				if u := c.conn.user; u != nil && ch.class.Kind == Authenticated {
					users[u.ID] = u.Email + " " + u.known().Info
				}
			}
			m.channels[name] = &mirrored{Class{Kind: ch.class.Kind, Hidden: ch.class.Hidden, CountOnly: ch.class.CountOnly}, len(ch.listeners), users}
		}
	}
	return m.text()
}

// TestTapsHaveWhatIsThere follows a host by taps that come and go and are pulled now and then.
func TestTapsHaveWhatIsThere(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		host, err := ParseHostName("portal.example.com")
		if err != nil {
			t.Fatal(err)
		}
		mode := Class{Kind: Authenticated}
		rules := &Rules{Classifier: classifierFunc(func(channel string) (Class, error) {
			if channel == "a0" {
				return Class{Kind: Anonymous}, nil
			}
			return mode, nil
		})}
		r := NewRegistry(fixed{})
		mirrors := make(map[uint8]*mirror)
		var conns []*Conn
		frames := new(int)
		for range 400 {
			shard := uint8(random.IntN(Shards))
			switch n := random.IntN(100); {
			case n < 8:
				if mirrors[shard] == nil {
					mirrors[shard] = newMirror(r, host, shard)
				}
			case n < 10:
				if m := mirrors[shard]; m != nil {
					m.tap.Close()
					delete(mirrors, shard)
				}
			case n < 30:
				if m := mirrors[shard]; m != nil && m.noted {
					m.pull(t, 1+random.IntN(5))
				}
			case n < 32:
				mode = []Class{{Kind: Authenticated}, {Kind: Authenticated, CountOnly: true}, {Kind: Anonymous}, {Kind: Authenticated, Hidden: true}}[random.IntN(4)]
				if h := r.Host(host); h != nil {
					h.Reclassify()
				}
			case n < 45 || len(conns) == 0:
				var u *User
				if id := random.IntN(8); id > 0 {
					u = &User{ID: fmt.Sprintf("u%d", id), Info: fmt.Sprintf(`{"n":%d}`, random.IntN(3)), Email: fmt.Sprintf("%d@example.com", random.IntN(2))}
				}
				c, err := r.Connect(host, rules, u, count{frames})
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
			default:
				i := random.IntN(len(conns))
				c, channel := conns[i], fmt.Sprintf("a%d", random.IntN(6))
				switch random.IntN(8) {
				case 0, 1:
					c.Close()
					conns = slices.Delete(conns, i, i+1)
				case 2:
					if err := c.Authenticate(User{ID: fmt.Sprintf("u%d", 1+random.IntN(7)), Info: "{}"}, nil); err != nil {
						t.Fatal(err)
					}
				case 3, 4:
					_ = c.Leave(channel, "")
				default:
					_ = c.Join(channel, WatchNone, "")
				}
			}
		}
		for shard, m := range mirrors {
			for m.noted && m.pull(t, 1+random.IntN(5)) {
			}
			if got, want := m.text(), truth(r, host, shard); got != want {
				t.Fatalf("seed %d, shard %d: got\n%s\nwant\n%s", seed, shard, got, want)
			}
		}
		for _, m := range mirrors {
			m.tap.Close()
		}
		for _, c := range conns {
			if c.host.taps != nil {
				t.Fatal("a host keeps taps that are closed")
			}
			c.Close()
		}
		if len(r.taps) > 0 {
			t.Fatalf("taps are kept: %v", r.taps)
		}
	}
}

// A Tap that nobody pulls begins again with the whole part.
func TestTapIsBounded(t *testing.T) {
	host, err := ParseHostName("portal.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r, frames := NewRegistry(fixed{}), new(int)
	m := newMirror(r, host, 0)
	stay, err := r.Connect(host, &Rules{}, &User{ID: "stays"}, count{frames})
	if err != nil {
		t.Fatal(err)
	}
	m.pull(t, 10)
	for i := range 12 * maxTapped { // an eighth of them is in the shard
		name := fmt.Sprintf("c%d", i)
		if ShardOf(name) != 0 {
			continue
		}
		if err := stay.Join(name, WatchNone, ""); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 || i > 100 {
			if err := stay.Leave(name, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	if m.tap.size > maxTapped+2 || len(m.tap.entries) > maxTapped+2 {
		t.Errorf("%d names and %d entries are kept", m.tap.size, len(m.tap.entries))
	}
	for m.noted && m.pull(t, 1000) {
	}
	if got, want := m.text(), truth(r, host, 0); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want := 0
	for name := range maps.Keys(stay.host.channels) {
		if ShardOf(name) == 0 {
			want++
		}
	}
	if _, online := m.channels[""]; online && ShardOf("stays") != 0 {
		want++ // without users
	}
	if len(m.channels) < want {
		t.Errorf("%d channels, want %d", len(m.channels), want)
	}
}

// A crowd that comes and goes while nobody pulls is not kept, as for its channel a whole part follows.
func TestTapForgetsACrowdThatHasGone(t *testing.T) {
	host, err := ParseHostName("portal.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r := NewRegistry(fixed{})
	m := newMirror(r, host, ShardOf("room"))
	for m.pull(t, 1000) {
	}
	for i := range maxChanges + 2 {
		c, err := r.Connect(host, &Rules{}, &User{ID: fmt.Sprint(i)}, count{new(int)})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Join("room", WatchNone, ""); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	kept := 0
	for _, e := range m.tap.entries {
		kept += 1 + len(e.users)
		if e.past != nil {
			kept += len(e.past.Came)
		}
	}
	if size := m.tap.size; kept > 2*size {
		t.Errorf("%d names are kept, and %d count", kept, size)
	}
}

// Events that nobody asks for cost nothing.
func BenchmarkJoinTapped(b *testing.B) {
	for _, taps := range []int{0, 1} {
		b.Run(fmt.Sprintf("taps=%d", taps), func(b *testing.B) {
			host, err := ParseHostName("portal.example.com")
			if err != nil {
				b.Fatal(err)
			}
			r, frames := NewRegistry(fixed{}), new(int)
			c, err := r.Connect(host, &Rules{}, &User{ID: "ada"}, count{frames})
			if err != nil {
				b.Fatal(err)
			}
			for range taps {
				for shard := range uint8(Shards) {
					r.Pods().Tap(host, shard, true, func() {}).Pull(1000)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Join("room", WatchNone, ""); err != nil {
					b.Fatal(err)
				}
				if err := c.Leave("room", ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
