package message

import (
	"github.com/rollcall-gateway/rollcall/presence"
)

// What the entries of lists take in a payload, in bytes: a listing without its users, and a
// connection without its channels, but with the number of all.
const (
	numberLimit  = 5                                                          // the most that a number takes of up to 2^32
	timeLimit    = 10                                                         // the most that a time takes
	memberLimit  = 2 + presence.MaxUserID + 2 + presence.MaxEmail + timeLimit // the most that a user takes
	channelLimit = 2 + presence.MaxChannelName                                // the most that the name of a channel takes
)

func textSize(s *string) int { return numberSize(uint64(len(*s))) + len(*s) }

func userSize(u *presence.User) int { return textSize(&u.ID) + textSize(&u.Email) }

func memberSize(m *presence.Member) int {
	size := userSize(&m.User) + timeSize(m.Seen)
	if isDetailed(*m) {
		size += detailSize(m)
	}
	return size
}

func departureSize(d *presence.Departure) int { return textSize(&d.ID) + 1 }

// DeltaSize returns how many bytes of a payload the lists of a delta take.
func DeltaSize(d *presence.Delta) int {
	size := 0
	for i := range d.Joined {
		size += memberSize(&d.Joined[i])
	}
	for i := range d.Left {
		size += departureSize(&d.Left[i])
	}
	return size
}

func checkSize(c *CheckChannel) int { return textSize(&c.Channel) + numberSize(c.Clock) }

func listingSize(l *presence.Listing) int {
	size := 1 + textSize(&l.Channel) + numberSize(uint64(l.Count)) + numberSize(uint64(len(l.Users)))
	if l.Userless != 0 {
		size += numberSize(uint64(l.Userless))
	}
	return size
}

func connectionSize(c *Connection) int {
	return textSize(&c.ID) + textSize(&c.Email) + timeSize(c.Since) + timeSize(c.LastSign) + numberSize(uint64(len(c.Channels)))
}

func siteSize(s *Site) int {
	size := 1 + numberSize(uint64(len(s.Sets)))
	for _, set := range s.Sets {
		size += numberSize(uint64(len(set)))
		for i := range set {
			size += textSize(&set[i])
		}
	}
	return size
}

func timeSize(t int64) int { return numberSize(uint64(t)<<1 ^ uint64(t>>63)) }

func numberSize(n uint64) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
