package pusher

import (
	"bytes"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/rawjson"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Encoding is the place of [Encoder] among the encoders of the registry.
const Encoding presence.Encoding = 1

// Names of the frames about channels.
const (
	eventSubscribed        = "pusher_internal:subscription_succeeded"
	eventMemberAdded       = "pusher_internal:member_added"
	eventMemberRemoved     = "pusher_internal:member_removed"
	eventSubscriptionCount = "pusher_internal:subscription_count"
	eventCacheMiss         = "pusher:cache_miss"
	eventWatchlist         = "pusher_internal:watchlist_events"
)

// Encoder builds the frames about channels. It returns whole websocket frames.
type Encoder struct{}

var _ presence.FrameEncoder = Encoder{}

// isPresence reports whether the subscribers of a channel are members.
func isPresence(channel string) bool {
	traits, err := app.ParseChannel(channel)
	return err == nil && traits.Has(app.Presence)
}

// listSeparator separates the parts of an encoded list. It is no byte of JSON.
const listSeparator = 0

// Members implements [presence.FrameEncoder]. The list has the number of users, their IDs and their
// IDs with their info, escaped as in a frame: Joined adds a member to it without encoding it again.
func (Encoder) Members(users []presence.View, hide presence.Fields) []byte {
	const typical = 96 // bytes of a user
	b := make([]byte, 0, 16+typical*len(users))
	b = strconv.AppendInt(b, int64(len(users)), 10)
	b = append(b, listSeparator)
	for i := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEscapedString(b, shownID(&users[i]))
	}
	b = append(b, listSeparator)
	for i := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEntry(b, shownID(&users[i]), shownInfo(&users[i], hide))
	}
	return b
}

// appendEntry appends an entry of hash, escaped.
func appendEntry(b []byte, id, info string) []byte {
	b = append(appendEscapedString(b, id), ':')
	if info == "" {
		info = "null"
	}
	return appendEscaped(b, info)
}

// appendEscapedString appends a JSON string, escaped once more.
func appendEscapedString(b []byte, s string) []byte {
	start := len(b)
	b = wire.AppendString(b, s)
	if b[start] == '"' && bytes.IndexByte(b[start+1:len(b)-1], '\\') < 0 { // as nearly always
		b = append(b[:start], `\"`...)
		b = append(b, s...)
		return append(b, `\"`...)
	}
	quoted := string(b[start:])
	return appendEscaped(b[:start], quoted)
}

// shownID returns the ID by which other connections know a user.
func shownID(v *presence.View) string {
	if v.Shown != nil {
		return v.Shown.ID
	}
	return v.ID
}

// shownInfo returns user_info of a user as other connections see it; "" for none.
func shownInfo(v *presence.View, hide presence.Fields) string {
	switch {
	case v.Shown != nil:
		return infoOf(v.Shown.Record)
	case v.Hide(hide)&presence.FieldInfo != 0:
		return ""
	}
	return v.Info
}

// infoOf returns the info in a record of a user; "" if it has none.
func infoOf(record string) string {
	o, ok := rawjson.Open([]byte(record))
	if !ok {
		return ""
	}
	info := ""
	for {
		key, value, more := o.Next()
		if !more {
			return info
		}
		if string(rawjson.Name(key)) == "info" {
			info = string(value)
		}
	}
}

// Joined implements [presence.FrameEncoder].
func (Encoder) Joined(j presence.Joined) []byte {
	if !isPresence(j.Channel) {
		return frame(eventSubscribed, j.Channel, noData)
	}
	return socket.Text(func(b []byte) []byte {
		b = append(b, `{"event":"`+eventSubscribed+`","channel":`...)
		b = wire.AppendString(b, j.Channel)
		b = append(b, `,"data":"{\"presence\":{`...)
		b = appendPresence(b, j)
		return append(b, `}}"}`...)
	})
}

// appendPresence appends ids, hash and count, escaped. The joiner is always there. count is the
// number of ids, from which clients go on counting, unless nobody is named.
func appendPresence(b []byte, j presence.Joined) []byte {
	count, ids, hash := 0, []byte(nil), []byte(nil)
	if j.Members != nil {
		number, rest, _ := bytes.Cut(j.Members, []byte{listSeparator})
		count, _ = strconv.Atoi(string(number))
		ids, hash, _ = bytes.Cut(rest, []byte{listSeparator})
	}
	b = append(append(b, `\"ids\":[`...), ids...)
	if j.Self != nil {
		if len(ids) > 0 {
			b = append(b, ',')
		}
		b = appendEscapedString(b, j.Self.ID)
	}
	b = append(append(b, `],\"hash\":{`...), hash...)
	if j.Self != nil {
		if len(hash) > 0 {
			b = append(b, ',')
		}
		b = appendEntry(b, j.Self.ID, j.Self.Info)
		count++
	}
	if j.Members == nil {
		count = max(count, j.Count)
	}
	b = append(b, `},\"count\":`...)
	return strconv.AppendInt(b, int64(count), 10)
}

// Left implements [presence.FrameEncoder]. A client that leaves expects no answer.
func (Encoder) Left(_, channel string, reason presence.Reason) []byte {
	switch reason {
	case presence.ReasonDenied:
		return subscriptionError(eventSubscriptionError, channel, refusal{typeAuth, 403, "the rules of this site no longer allow this channel"})
	case presence.ReasonRemoved:
		return subscriptionError(eventSubscriptionError, channel, refusal{typeAuth, 403, "the backend has ended this subscription"})
	}
	return nil
}

// Presence implements [presence.FrameEncoder]: a frame for each member, removed ones first. A
// change of user_info is no event of the protocol.
func (Encoder) Presence(d presence.Diff) []byte {
	if d.Names != presence.NamesShown || len(d.Left)+len(d.Joined) == 0 || !isPresence(d.Channel) {
		return nil
	}
	var frames []byte
	for i := range d.Left {
		frames = append(frames, memberFrame(eventMemberRemoved, d.Channel, shownID(&d.Left[i]), "")...)
	}
	for i := range d.Joined {
		frames = append(frames, memberFrame(eventMemberAdded, d.Channel, shownID(&d.Joined[i]), shownInfo(&d.Joined[i], d.Hide))...)
	}
	return frames
}

func memberFrame(event, channel, id, info string) []byte {
	return socket.Text(func(b []byte) []byte {
		b = append(append(b, `{"event":"`...), event...)
		b = append(b, `","channel":`...)
		b = wire.AppendString(b, channel)
		b = append(b, `,"data":"{\"user_id\":`...)
		b = appendEscapedString(b, id)
		if info != "" {
			b = append(b, `,\"user_info\":`...)
			b = appendEscaped(b, info)
		}
		return append(b, `}"}`...)
	})
}

// CacheMiss builds the frame that follows the subscription to a cache channel without an event.
// Some clients compare its data.
func (Encoder) CacheMiss(channel string) []byte { return frame(eventCacheMiss, channel, noData) }

// SubscriptionCount builds the frame with the number of subscribers of a channel.
func (Encoder) SubscriptionCount(channel string, n int) []byte {
	return frame(eventSubscriptionCount, channel, `{"subscription_count":`+strconv.Itoa(n)+`}`)
}

// Watchlist builds the frame with the watched users that have come online and gone offline.
func (Encoder) Watchlist(online, offline []string) []byte {
	b := []byte(`{"events":[`)
	b = appendWatched(b, "online", online)
	if len(online) > 0 && len(offline) > 0 {
		b = append(b, ',')
	}
	b = appendWatched(b, "offline", offline)
	return frame(eventWatchlist, "", string(append(b, "]}"...)))
}

// appendWatched appends an event of a watchlist frame, unless it has no users.
func appendWatched(b []byte, name string, users []string) []byte {
	if len(users) == 0 {
		return b
	}
	b = append(append(b, `{"name":"`...), name...)
	b = append(b, `","user_ids":[`...)
	for i, id := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, id)
	}
	return append(b, "]}"...)
}
