package presence

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines formats what a tape encoded as one line for each channel.
func (e Encoded) lines() []string {
	var lines []string
	for _, ch := range e.Channels {
		if ch.Named {
			lines = append(lines, fmt.Sprintf("%s [%s]", ch.Name, bytes.Join(ch.Users, []byte{' '})))
		} else {
			lines = append(lines, fmt.Sprintf("%s %d", ch.Name, ch.Count))
		}
	}
	for _, chunk := range e.Private {
		lines = append(lines, strings.Split(string(chunk), "\n")...)
	}
	return lines
}

// listedLine formats a listing, with its users in order.
func listedLine(l Listing) string {
	if l.Users == nil {
		return fmt.Sprintf("%s %d", l.Channel, l.Count)
	}
	var b []byte
	for i := range l.Users {
		b = new(tape).AppendUser(b, &l.Users[i], i == 0)
	}
	return fmt.Sprintf("%s [%s]", l.Channel, b)
}

func listedLines(list []Listing) []string {
	lines := make([]string, len(list))
	for i, l := range list {
		lines[i] = listedLine(l)
	}
	return lines
}

// checkEncoded checks that the encoded listing is the listing, except for the order of users, and
// that no cached chunk is outdated.
func (m *model) checkEncoded() {
	t, h := m.w.t, m.w.reg.Host(m.w.name)
	if h == nil {
		return
	}
	h.checkChunks(t)
	if m.rng.IntN(2) == 0 { // otherwise outdated chunks remain in the cache
		equalLines(t, "channels", h.Encoded().lines(), listedLines(h.Channels(PerUser)))
	}
	name := modelChannels[m.rng.IntN(len(modelChannels))]
	if m.rng.IntN(4) == 0 {
		name = m.clients[m.rng.IntN(len(m.clients))].ID().PrivateChannel()
	}
	var want []string
	if l, ok := h.Channel(name, PerUser); ok {
		want = append(want, listedLine(l))
	}
	equalLines(t, "channel "+name, h.EncodedChannel(name).lines(), want)

	m.checkPages(h)
	users, stats := h.EncodedUsers()
	list, wantStats := h.Users(PerUser)
	got := fmt.Sprintf("all [%s]", bytes.Join(users, []byte{' '}))
	if want := listedLine(Listing{Channel: "all", Users: list}); got != want || stats != wantStats {
		t.Errorf("users %s and %+v, want %s and %+v", got, stats, want, wantStats)
	}
}

func equalLines(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  got  %q\n  want %q", what, got, want)
	}
}

// checkChunks compares all cached chunks with new ones, and size with their sum.
func (h *Host) checkChunks(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cache == nil {
		return
	}
	size := h.cache.private.check(t) + h.cache.online.check(t)
	for _, ch := range h.channels {
		if ch.chunks != nil {
			size += ch.chunks.check(t)
		}
	}
	if h.cache.size != size || h.cache.answers != 0 || int64(h.cache.counted) != h.registry.cached.Load() {
		t.Errorf("%d bytes are there; the host has %+v, the registry %d", size, h.cache, h.registry.cached.Load())
	}
}

func (p *chunks) check(t testing.TB) (size int) {
	t.Helper()
	for i, chunk := range p.list {
		size += len(chunk)
		if from, n := i*chunkLen, p.length(); chunk != nil {
			var want []byte
			if from < n {
				want = p.encode(nil, from, min(from+chunkLen, n))
			}
			if !bytes.Equal(chunk, want) {
				t.Errorf("chunk %d is %q, want %q", i, chunk, want)
			}
		}
	}
	return size
}

func TestEncoded(t *testing.T) {
	w := newWorld(t, &Rules{Classifier: classes{
		"counted": {Kind: Authenticated, CountOnly: true},
		"hidden":  {Kind: Authenticated, Hidden: true},
		"open":    {Kind: Anonymous},
	}})
	equal := func(want ...string) {
		t.Helper()
		equalLines(t, "channels", w.host().Encoded().lines(), want)
		equalLines(t, "as listed", listedLines(w.host().Channels(PerUser)), want)
	}
	a, b, guest := w.connect("a<a@x>"), w.connect("b"), w.connect("")
	private := func(c *client, who string) string { return c.ID().PrivateChannel() + " " + who }
	equal(private(a, "[a<a@x>]"), private(b, "[b]"), private(guest, "1"))
	for _, c := range []*client{a, b} {
		for _, name := range []string{"room", "counted", "hidden", "open"} {
			c.join(name, WatchNone)
		}
	}
	guest.join("open", WatchNone)
	again := w.connect("a<2@x>")
	again.join("room", WatchNone)
	again.join("alone", WatchNone)
	equal("alone [a<2@x>]", "counted 2", "open 3", "room [a<2@x> b]",
		private(a, "[a<2@x>]"), private(b, "[b]"), private(guest, "1"), private(again, "[a<2@x>]"))
	a.Close()
	guest.authenticate("c")
	equal("alone [a<2@x>]", "counted 1", "open 2", "room [a<2@x> b]",
		private(again, "[a<2@x>]"), private(b, "[b]"), private(guest, "[c]"))

	for name, want := range map[string][]string{
		"room": {"room [a<2@x> b]"}, "open": {"open 2"}, "hidden": nil, "nowhere": nil, "": nil, "tab|": nil,
		b.ID().PrivateChannel(): {private(b, "[b]")}, a.ID().PrivateChannel(): nil,
	} {
		equalLines(t, name, w.host().EncodedChannel(name).lines(), want)
	}
}

// The listing is complete if the host has more channels than a gatherStep.
func TestEncodedOfManyChannels(t *testing.T) {
	w := newWorld(t, &Rules{Classifier: classes{"room7": {Kind: Authenticated, Hidden: true}, "room8": {Kind: Anonymous}}})
	w.audience(2 * chunkLen)
	c := w.connect("ada<a@x>")
	for i := range 3*gatherStep + 7 {
		c.join(fmt.Sprintf("room%d", i), WatchNone)
	}
	for range 2 {
		equalLines(t, "channels", w.host().Encoded().lines(), listedLines(w.host().Channels(PerUser)))
		c.leave("room5")
		c.join("room5", WatchNone)
		c.leave("room9")
		c.join("another", WatchNone)
		w.host().checkChunks(t)
		c.join("room9", WatchNone)
	}
	var busy sync.WaitGroup
	busy.Go(func() { // changes while the lock is released
		for i := range 500 {
			name := fmt.Sprintf("room%d", i)
			_, _ = c.Leave(name, ""), c.Join(name, WatchNone, "")
		}
	})
	for range 20 {
		if n := len(w.host().Encoded().Channels); n < 3*gatherStep {
			t.Errorf("%d channels", n)
		}
	}
	busy.Wait()
	equalLines(t, "channels", w.host().Encoded().lines(), listedLines(w.host().Channels(PerUser)))
}

// audience connects n users to a channel.
func (w *world) audience(n int) []*client {
	list := make([]*client, n)
	for i := range list {
		list[i] = w.connect(fmt.Sprintf("user%d<%d@x>", i, i))
		list[i].join("room", WatchNone)
	}
	return list
}

func TestEncodedReusesUnchangedChunks(t *testing.T) {
	w := newWorld(t, &Rules{})
	crowd := w.audience(5 * chunkLen)
	before, users := w.host().Encoded(), len(crowd)
	shared := func(what string, want int) {
		t.Helper()
		now, same := w.host().Encoded(), 0
		for i, chunk := range now.Channels[0].Users {
			if i < len(before.Channels[0].Users) && &chunk[0] == &before.Channels[0].Users[i][0] {
				same++
			}
		}
		if before = now; same != want || len(now.Channels[0].Users) != (users+chunkLen-1)/chunkLen {
			t.Errorf("%s: %d of %d chunks are the same, want %d", what, same, len(now.Channels[0].Users), want)
		}
		equalLines(t, what, now.lines(), listedLines(w.host().Channels(PerUser)))
		w.host().checkChunks(t)
	}
	shared("nothing happened", 5)
	crowd[chunkLen].authenticate(fmt.Sprintf("user%d<new@x>", chunkLen))
	shared("another address", 4)
	crowd[0].leave("room") // the last one moves to its index
	users--
	shared("one left", 3)
	crowd[0].join("room", WatchNone)
	users++
	shared("one came", 4)
	w.connect("").Close()
	shared("unchanged", 5)
	w.host().SetRules(&Rules{Classifier: classes{"room": {Kind: Authenticated, Hidden: true}}})
	if hidden := w.host().Encoded(); len(hidden.Channels) != 0 {
		t.Errorf("hidden: %+v", hidden.Channels)
	}
}

// An answer does not change while it is sent.
func TestEncodedDoesNotChangeLater(t *testing.T) {
	w := newWorld(t, &Rules{})
	crowd := w.audience(3 * chunkLen)
	e := w.host().Encoded()
	want := e.lines()
	for i, c := range crowd {
		switch i % 3 {
		case 0:
			c.Close()
		case 1:
			c.authenticate(fmt.Sprintf("other%d", i))
		}
		if i%20 == 0 {
			w.host().Encoded()
		}
	}
	equalLines(t, "later", e.lines(), want)
}

func TestIdleCacheIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		crowd := w.audience(2 * chunkLen)
		kept := func(want bool) {
			t.Helper()
			synctest.Wait()
			h := w.host()
			h.mu.Lock()
			defer h.mu.Unlock()
			if ch := h.channels["room"]; (h.cache != nil) != want || (ch.chunks != nil) != want || (w.reg.cached.Load() != 0) != want {
				t.Errorf("%+v and %+v are kept, %d bytes in all; want some: %v", h.cache, ch.chunks, w.reg.cached.Load(), want)
			}
		}
		w.host().Encoded()
		kept(true)
		for range 3 { // an answer in time
			time.Sleep(cacheTTL - time.Second)
			w.host().EncodedUsers()
			kept(true)
		}
		time.Sleep(cacheTTL + time.Second)
		kept(false)
		w.host().EncodedChannel("room")
		kept(true)
		h := w.host()
		for _, c := range crowd {
			c.Close()
		}
		if h.cache != nil || w.reg.cached.Load() != 0 {
			t.Errorf("a host without connections keeps %+v, %d bytes in all", h.cache, w.reg.cached.Load())
		}
	})
}

func TestCacheOverTheLimitIsDropped(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.audience(2 * chunkLen)
	w.reg.cached.Store(maxCached - 100) // the caches of other hosts
	for range 2 {
		equalLines(t, "channels", w.host().Encoded().lines(), listedLines(w.host().Channels(PerUser)))
		if w.host().cache != nil || w.reg.cached.Load() != maxCached-100 {
			t.Errorf("%+v is kept, %d bytes in all", w.host().cache, w.reg.cached.Load())
		}
	}
}
