package presence

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pages lists all pages by next, and checks that all but the last have Limit channels.
func pages[T any](t testing.TB, p Page, next func(Page) ([]T, string)) []T {
	t.Helper()
	var all []T
	for {
		list, after := next(p)
		all = append(all, list...)
		if after == "" {
			return all
		}
		if len(list) != p.Limit || after <= p.After && isPrivate(after) == isPrivate(p.After) {
			t.Fatalf("%d channels on a page of %d, and after %q comes %q", len(list), p.Limit, p.After, after)
		}
		p.After = after
	}
}

// wholePage returns the listing of all channels with the prefix, in the order of pages.
func wholePage(list []Listing, prefix string) []Listing {
	list = slices.DeleteFunc(list, func(l Listing) bool { return !strings.HasPrefix(l.Channel, prefix) })
	private := slices.IndexFunc(list, func(l Listing) bool { return l.Kind == Private })
	if private >= 0 {
		slices.SortFunc(list[private:], func(a, b Listing) int { return strings.Compare(a.Channel, b.Channel) })
	}
	return list
}

// checkPages checks that pages have what the whole listing has.
func (m *model) checkPages(h *Host) {
	t := m.w.t
	p := Page{Prefix: modelPrefixes[m.rng.IntN(len(modelPrefixes))], Limit: 1 + m.rng.IntN(8)}
	want := listedLines(wholePage(h.Channels(PerUser), p.Prefix))
	got := pages(t, p, func(p Page) ([]Listing, string) { return h.Page(p, PerUser) })
	equalLines(t, "pages", listedLines(got), want)
	got = pages(t, p, func(p Page) ([]Listing, string) {
		return MergePages(p, PerUser, m.w.reg.Pods().Page(h.Name(), p, PerUser))
	})
	equalLines(t, "merged pages", listedLines(got), want)
	lines := pages(t, p, func(p Page) ([]string, string) {
		e, next := h.EncodedPage(p)
		return e.lines(), next
	})
	equalLines(t, "encoded pages", lines, want)
}

var modelPrefixes = []string{"", "", "a", modelChannels[0][:1], modelChannels[1], "t", "tab|", "tab|A", "nobody"}

func TestPages(t *testing.T) {
	w := newWorld(t, &Rules{Classifier: classes{"hidden": {Kind: Authenticated, Hidden: true}, "taxi": {Kind: Anonymous}}})
	for i := range 5 {
		c := w.connect(fmt.Sprintf("u%d", i))
		for _, name := range []string{"hidden", "taxi", "tab", "zoo", "ü", fmt.Sprintf("room%d", i)} {
			c.join(name, WatchNone)
		}
	}
	guest := w.connect("")
	guest.join("taxi", WatchNone)
	h := w.host()
	for _, prefix := range []string{"", "t", "tab", "tab|", guest.ID().PrivateChannel(), "room", "room3", "hidden", "z", "none"} {
		for limit := range len(h.Channels(PerUser)) + 2 {
			for _, per := range []Per{PerUser, PerConnection} {
				p := Page{Prefix: prefix, Limit: limit}
				want := listedLines(wholePage(h.Channels(per), prefix))
				what := fmt.Sprintf("%d from %q, per %d", limit, prefix, per)
				equalLines(t, what, listedLines(pages(t, p, func(p Page) ([]Listing, string) { return h.Page(p, per) })), want)
				if per == PerUser {
					equalLines(t, "encoded "+what, pages(t, p, func(p Page) ([]string, string) {
						e, next := h.EncodedPage(p)
						return e.lines(), next
					}), want)
				}
			}
		}
	}
	// After need not be active, and can be of another kind than the prefix.
	for p, want := range map[Page]int{
		{After: "room2x"}:                          2 + 3 + 1 + 6, // rooms, tab, taxi, zoo, ü, private
		{After: "room2x", Prefix: "room"}:          2,
		{After: "zzz", Prefix: "room"}:             0,
		{After: "ü", Prefix: "tab|"}:               6,
		{After: "tab|", Prefix: "t"}:               6,
		{After: "tab|zzzzzzzzzzzzzzzzzzzzzz"}:      0,
		{After: "tab|" + strings.Repeat("-", 22)}:  6,
		{After: "tab|", Prefix: "room", Limit: 10}: 0,
	} {
		if list, next := h.Page(p, PerUser); len(list) != want || next != "" {
			t.Errorf("%+v has %d channels, want %d, and next %q", p, len(list), want, next)
		}
	}
}

// Channels that are there the whole time are on exactly one page, whatever comes and goes
// meanwhile.
func TestPagesWhileChannelsChange(t *testing.T) {
	w := newWorld(t, &Rules{})
	stay, churn := w.connect("stay"), w.connect("churn")
	const rooms = 3 * selectStep
	for i := range rooms {
		stay.join(fmt.Sprintf("room%d", i), WatchNone)
	}
	var busy sync.WaitGroup
	stop := make(chan struct{})
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprintf("room%dx", i%rooms)
			_ = churn.Join(name, WatchNone, "")
			if i%3 > 0 {
				_ = churn.Leave(name, "")
			}
			if c, err := w.reg.Connect(w.name, w.rules, nil, &inbox{}); err == nil {
				c.Close()
			}
		}
	})
	own := []string{stay.ID().PrivateChannel(), churn.ID().PrivateChannel()}
	for range 3 {
		seen := make(map[string]int)
		for p := (Page{Limit: 1000}); ; {
			list, next := w.host().Page(p, PerUser)
			for _, l := range list {
				seen[l.Channel]++
			}
			if next == "" {
				break
			}
			p.After = next
		}
		for i := range rooms {
			own = append(own[:2], fmt.Sprintf("room%d", i))
			for _, name := range own {
				if seen[name] != 1 {
					t.Fatalf("%s is on %d pages", name, seen[name])
				}
			}
		}
	}
	close(stop)
	busy.Wait()
}

// A page of many channels costs much less than the listing of all of them.
func BenchmarkPage(b *testing.B) {
	w := newWorld(b, &Rules{})
	for i := range 100 {
		c := w.connect(fmt.Sprintf("u%d", i))
		for j := range 1000 {
			c.join(fmt.Sprintf("room-%d-%d", i, j), WatchNone)
		}
	}
	h := w.host()
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Encoded()
		}
	})
	for _, limit := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint("page of ", limit), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.EncodedPage(Page{Limit: limit, After: "room-42"})
			}
		})
	}
}
