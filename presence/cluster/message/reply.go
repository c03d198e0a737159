package message

import (
	"encoding/binary"
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
)

// What is set in the byte that holds the kind of a channel.
const (
	countOnly = 0x80
	withSeen  = 0x40 // the users have the times of their addresses
	detailed  = 0x20 // users have info or a status
	userless  = 0x10 // connections count as no user
)

func (e *encoder) reply(m *Reply) {
	e.uvarint(m.ID)
	e.number(uint64(m.Try))
	e.number(uint64(m.Part))
	details := slices.ContainsFunc(m.Members, isDetailed)
	e.flags(m.Last, m.NotServed, details, m.Unlisted, m.More)
	e.number(m.Count.Anonymous)
	e.number(m.Count.LoggedIn)
	e.number(m.Count.Users)
	if wrong := checkHashes(m.Count.Hashes); wrong != "" {
		e.fail(wrong)
	}
	e.length(len(m.Count.Hashes))
	for _, hash := range m.Count.Hashes {
		e.fixed(hash)
	}
	e.length(len(m.Members))
	for i := range m.Members {
		e.member(&m.Members[i])
	}
	if details {
		e.details(m.Members, false)
	}
	e.length(len(m.Channels))
	for i := range m.Channels {
		e.listing(&m.Channels[i])
	}
	e.length(len(m.Conns))
	for i := range m.Conns {
		e.connection(&m.Conns[i])
	}
}

func (d *decoder) reply() *Reply {
	m := &Reply{ID: d.uvarint(), Try: uint32(d.number()), Part: uint32(d.number())}
	flags := d.flags(5)
	m.Last, m.NotServed, m.Unlisted, m.More = flags&1 != 0, flags&2 != 0, flags&8 != 0, flags&16 != 0
	m.Count = Count{Anonymous: d.number(), LoggedIn: d.number(), Users: d.number()}
	m.Count.Hashes = d.hashes()
	m.Members = list(d, leastMember, d.member)
	if flags&4 != 0 {
		d.details(m.Members, 3)
	}
	m.Channels = list(d, leastListing, d.listing)
	m.Conns = list(d, leastConnection, d.connection)
	return m
}

// hashes is list for hashes, of which there are as many as users.
func (d *decoder) hashes() []uint64 {
	n := d.length(leastHash)
	if n == 0 {
		return nil
	}
	if n > MaxHashes {
		d.fail(manyHashes)
		return nil
	}
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = binary.BigEndian.Uint64(d.payload[d.pos+leastHash*i:])
	}
	if wrong := checkHashes(hashes); wrong != "" {
		d.fail(wrong)
		return nil
	}
	d.pos += leastHash * n
	return hashes
}

const manyHashes = "too many hashes"

// checkHashes returns what is wrong with the hashes of a reply, or "".
func checkHashes(hashes []uint64) string {
	if len(hashes) > MaxHashes {
		return manyHashes
	}
	for i := 1; i < len(hashes); i++ {
		if hashes[i] <= hashes[i-1] {
			return "hashes that are not in order"
		}
	}
	return ""
}

func (e *encoder) user(u *presence.User) {
	e.userID(u.ID)
	e.email(u.Email)
}

func (d *decoder) user() presence.User {
	return presence.User{ID: d.userID(), Email: d.email()}
}

func (e *encoder) member(m *presence.Member) {
	e.user(&m.User)
	e.time(m.Seen)
}

func (d *decoder) member() presence.Member {
	return presence.Member{User: d.user(), Seen: d.time()}
}

func (e *encoder) listing(l *presence.Listing) {
	if l.Kind < presence.Authenticated || l.Kind > presence.Private {
		e.fail("an unknown kind of channel")
	}
	if len(l.Seen) != 0 && len(l.Seen) != len(l.Users) {
		e.fail("users of whom some have the time of their address")
		return
	}
	if len(l.Details) != 0 && len(l.Details) != len(l.Users) {
		e.fail("users of whom some have the times of their details")
		return
	}
	kind := byte(l.Kind)
	if isListingDetailed(l) {
		kind |= detailed
	}
	if l.CountOnly {
		kind |= countOnly
	}
	if len(l.Seen) != 0 {
		kind |= withSeen
	}
	if l.Userless != 0 {
		kind |= userless
	}
	e.byte(kind)
	e.channel(l.Channel)
	e.count(l.Count)
	if l.Userless != 0 {
		e.count(l.Userless)
	}
	e.length(len(l.Users))
	for i := range l.Users {
		e.user(&l.Users[i])
		if len(l.Seen) != 0 {
			e.time(l.Seen[i])
		}
	}
	if kind&detailed != 0 {
		e.details(listingMembers(l), false)
	}
}

func (d *decoder) listing() presence.Listing {
	kind := d.byte()
	l := presence.Listing{Kind: presence.Kind(kind &^ (countOnly | withSeen | detailed | userless)), CountOnly: kind&countOnly != 0}
	if l.Kind < presence.Authenticated || l.Kind > presence.Private {
		d.fail("an unknown kind of channel")
	}
	l.Channel, l.Count = d.channel(), d.count()
	if kind&userless != 0 {
		if l.Userless = d.count(); l.Userless == 0 {
			d.fail("no connections without a user")
		}
	}
	if kind&withSeen == 0 {
		l.Users = list(d, leastUser, d.user)
	} else {
		d.seenUsers(&l)
	}
	if kind&detailed != 0 {
		d.listingDetails(&l)
	}
	return l
}

// seenUsers reads the users of a listing with the times of their addresses.
func (d *decoder) seenUsers(l *presence.Listing) {
	n := d.length(leastMember)
	if n == 0 {
		d.fail("times of no user")
		return
	}
	l.Users, l.Seen = make([]presence.User, n), make([]int64, n)
	for i := 0; i < n && d.wrong == ""; i++ {
		l.Users[i], l.Seen[i] = d.user(), d.time()
	}
}

func (e *encoder) connection(c *Connection) {
	e.text(c.ID, maxName)
	e.email(c.Email)
	e.time(c.Since)
	e.time(c.LastSign)
	e.length(len(c.Channels))
	for _, channel := range c.Channels {
		e.channel(channel)
	}
}

func (d *decoder) connection() Connection {
	return Connection{
		ID: d.text(maxName), Email: d.email(), Since: d.time(), LastSign: d.time(),
		Channels: list(d, leastText+1, d.channel),
	}
}
