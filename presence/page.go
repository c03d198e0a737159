package presence

import (
	"slices"
	"strings"
)

// MaxPage is the largest [Page].Limit.
const MaxPage = 10_000

// Page selects active channels of a host. The zero value selects all of them.
//
// Channels have the order of [Host.Channels], with private channels sorted by name. A channel that
// is active while all pages are listed is on exactly one of them.
type Page struct {
	Prefix string // selects channels whose names begin with it
	After  string // selects channels that follow this name, which need not be active; "": the first page
	Limit  int    // maximum number of channels; 0: no limit
}

// Page lists the channels of one page, like [Host.Channels]. next is the After of the next page, or
// "" if this is the last. Each channel is of a moment of its own.
//
// A page costs a look at the name of every channel, in steps between which the host's lock is
// released, and memory for twice as many names as the page has.
func (h *Host) Page(p Page, per Per) (list []Listing, next string) {
	names, next := h.selectPage(p)
	return h.listNames(names, per, (*channel).listing, (*Conn).listing), next
}

// EncodedPage lists the channels of one page, like [Host.Encoded].
func (h *Host) EncodedPage(p Page) (e Encoded, next string) {
	names, next := h.selectPage(p)
	named := slices.IndexFunc(names, isPrivate)
	if named < 0 {
		named = len(names)
	}
	h.mu.Lock()
	k := h.acquireCache()
	var lists []*chunks
	for _, name := range names[:named] {
		if ch := h.channels[name]; ch != nil && ch.named() {
			if p := h.chunksOf(ch, k); p != nil {
				lists = append(lists, p)
			}
		}
	}
	h.mu.Unlock()
	h.fill(lists...)

	e = h.gather(k, names[:named], false)
	e.Private = h.encodePrivateNames(names[named:])
	return e, next
}

// encodePrivateNames encodes the named private channels, except those that are no longer there.
func (h *Host) encodePrivateNames(names []string) [][]byte {
	var (
		list [][]byte
		k    User
	)
	for step := range slices.Chunk(names, gatherStep) {
		h.mu.Lock()
		var chunk []byte
		for _, name := range step {
			if c := h.privateConn(name); c != nil {
				chunk = h.appendPrivate(chunk, c, len(chunk) == 0, &k)
			}
		}
		h.mu.Unlock()
		if len(chunk) > 0 {
			list = append(list, chunk)
		}
	}
	return list
}

// listNames lists the named channels, except hidden ones and those that are no longer active.
func (h *Host) listNames(
	names []string, per Per, named func(*channel, Per) Listing, private func(*Conn, Per) Listing,
) []Listing {
	list := make([]Listing, 0, len(names))
	for step := range slices.Chunk(names, gatherStep) {
		h.mu.Lock()
		for _, name := range step {
			if l, ok := h.listing(name, per, named, private); ok {
				list = append(list, l)
			}
		}
		h.mu.Unlock()
	}
	return list
}

// Page lists the channels of one page for [MergePages]: one more than its limit if there is
// another page.
func (p Pods) Page(host HostName, page Page, per Per) []Listing {
	h := p.r.Host(host)
	if h == nil {
		return nil
	}
	if page.Limit > 0 {
		page.Limit++
	}
	names, _ := h.selectPage(page)
	return h.listNames(names, per, (*channel).mergeable, (*Conn).mergeable)
}

// MergePages merges results of [Pods.Page] like [MergeListings]. The result is that of [Host.Page].
func MergePages(page Page, per Per, parts ...[]Listing) (list []Listing, next string) {
	list = MergeListings(per, parts...)
	if private := slices.IndexFunc(list, func(l Listing) bool { return l.Kind == Private }); private >= 0 {
		slices.SortFunc(list[private:], func(a, b Listing) int { return strings.Compare(a.Channel, b.Channel) })
	}
	if page.Limit > 0 && len(list) > page.Limit {
		list = list[:page.Limit]
		next = list[page.Limit-1].Channel
	}
	return list, next
}

// Entries returns the number of entries of a listing without a limit: a user of a channel is one,
// like a channel that has a number instead.
func (h *Host) Entries(p Page, per Per) int {
	return h.entries(p, func(ch *channel) int {
		if !ch.named() {
			return 1
		}
		return ch.listedUsers(per)
	})
}

// Entries is [Host.Entries] for [Pods.Listings] and [Pods.Page], which have the users of CountOnly
// channels too.
func (p Pods) Entries(host HostName, page Page, per Per) int {
	h := p.r.Host(host)
	if h == nil {
		return 0
	}
	return h.entries(page, func(ch *channel) int { return max(1, ch.listedUsers(per)) })
}

// listedUsers returns the number of users of an authenticated channel in a listing, or a few more;
// 0 for other channels.
func (ch *channel) listedUsers(per Per) int {
	switch {
	case ch.class.Kind != Authenticated:
		return 0
	case per.Raw():
		return len(ch.listeners)
	}
	return int(ch.users)
}

// entries returns the number of entries of a page without its limit, if a channel has entriesOf.
// Between steps, the host's lock is released.
func (h *Host) entries(p Page, entriesOf func(*channel) int) (n int) {
	if !isPrivate(p.After) && !isPrivate(p.Prefix) {
		h.visitNamed(&selection{prefix: p.Prefix, after: p.After}, func(_ string, ch *channel) { n += entriesOf(ch) })
	}
	switch {
	case strings.HasPrefix(PrivatePrefix, p.Prefix) && !isPrivate(p.After):
		n += h.Stats().Conns
	case mayBePrivate(p.Prefix):
		s := selection{prefix: p.Prefix}
		if isPrivate(p.After) {
			s.after = p.After
		}
		h.visitPrivate(&s, func([]byte) { n++ })
	}
	return n
}

// selectStep is how many names are looked at before the host's lock is released: a fraction of a
// millisecond.
const selectStep = 2048

// selectPage returns the names of the channels of a page, in its order.
func (h *Host) selectPage(p Page) (names []string, next string) {
	limit := 0
	if p.Limit > 0 {
		limit = p.Limit + 1 // one more shows that there is another page
	}
	if !isPrivate(p.After) && !isPrivate(p.Prefix) {
		s := selection{prefix: p.Prefix, after: p.After, limit: limit}
		h.selectNamed(&s)
		names = s.finish()
	}
	if mayBePrivate(p.Prefix) && (limit == 0 || len(names) < limit) {
		s := selection{prefix: p.Prefix, limit: max(0, limit-len(names))}
		if isPrivate(p.After) {
			s.after = p.After
		}
		h.selectPrivate(&s)
		names = append(names, s.finish()...)
	}
	if limit > 0 && len(names) == limit {
		names = names[:p.Limit]
		next = names[p.Limit-1]
	}
	return names, next
}

// mayBePrivate reports whether the names of private channels can begin with the prefix.
func mayBePrivate(prefix string) bool {
	return isPrivate(prefix) || strings.HasPrefix(PrivatePrefix, prefix)
}

// selectNamed adds the channels that have a name.
func (h *Host) selectNamed(s *selection) {
	h.visitNamed(s, func(name string, _ *channel) { s.add(name) })
}

// visitNamed calls visit with the selected channels that have a name. The iteration goes on after
// the lock was released: a map may change meanwhile, and entries that stay are visited once.
func (h *Host) visitNamed(s *selection, visit func(name string, ch *channel)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for name, ch := range h.channels {
		if n++; n%selectStep == 0 {
			h.mu.Unlock()
			h.mu.Lock()
		}
		if s.wants(name) && !ch.class.Hidden {
			visit(name, ch)
		}
	}
}

// selectPrivate adds the private channels.
func (h *Host) selectPrivate(s *selection) {
	h.visitPrivate(s, func(name []byte) { s.add(string(name)) })
}

// visitPrivate calls visit with the names of the selected private channels, like visitNamed.
func (h *Host) visitPrivate(s *selection, visit func(name []byte)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	buf := []byte(PrivatePrefix)
	for id := range h.byID {
		if n++; n%selectStep == 0 {
			h.mu.Unlock()
			h.mu.Lock()
		}
		if buf = id.Append(buf[:len(PrivatePrefix)]); s.wants(string(buf)) {
			visit(buf)
		}
	}
}

// selection keeps the first names of those that are added.
type selection struct {
	prefix, after string
	limit         int    // number of names that are kept; 0: all
	bound         string // names from here on are not among the first; "" while they can be
	names         []string
}

// wants reports whether the name belongs to the selection, as far as is known.
func (s *selection) wants(name string) bool {
	return name > s.after && strings.HasPrefix(name, s.prefix) && (s.bound == "" || name < s.bound)
}

func (s *selection) add(name string) {
	s.names = append(s.names, name)
	if s.limit > 0 && len(s.names) >= 2*s.limit {
		s.finish()
	}
}

// finish returns the names that are kept, sorted.
func (s *selection) finish() []string {
	slices.Sort(s.names)
	if s.limit > 0 && len(s.names) >= s.limit {
		clear(s.names[s.limit:])
		s.names = s.names[:s.limit]
		s.bound = s.names[s.limit-1]
	}
	return s.names
}
