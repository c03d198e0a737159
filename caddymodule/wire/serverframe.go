package wire

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Encoder builds the frames of package presence. It returns whole websocket frames.
type Encoder struct{}

var _ presence.Encoder = Encoder{}

// Members implements [presence.Encoder].
func (Encoder) Members(users []presence.View, hide presence.Fields) []byte {
	const typical = 64 // bytes of a user
	return appendViews(make([]byte, 0, 2+typical*len(users)), users, hide, record)
}

// Joined implements [presence.Encoder].
func (Encoder) Joined(j presence.Joined) []byte {
	return socket.Text(func(b []byte) []byte {
		b = appendHead(b, "joined", j.Ref)
		b = append(b, `,"channel":`...)
		b = AppendString(b, j.Channel)
		b = append(b, `,"kind":"`...)
		b = append(b, j.Kind.String()...)
		b = append(b, '"')
		if j.Grant {
			b = appendMay(b, j.May)
		}
		if j.Watch != presence.WatchNone {
			b = append(b, `,"seq":`...)
			b = strconv.AppendUint(b, j.Seq, 10)
			if j.Members != nil {
				b = append(b, `,"members":`...)
				b = append(b, j.Members...)
			}
			b = appendCount(b, j.Count)
			if j.Unnamed {
				b = append(b, `,"names":false`...)
			}
		}
		return append(b, '}')
	})
}

// appendMay appends the permissions besides join.
func appendMay(b []byte, may presence.Permissions) []byte {
	b = append(b, `,"may":[`...)
	if may&presence.MaySend != 0 {
		b = append(b, `"send"`...)
	}
	if may&presence.MaySee != 0 {
		if may&presence.MaySend != 0 {
			b = append(b, ',')
		}
		b = append(b, `"see"`...)
	}
	return append(b, ']')
}

// Left implements [presence.Encoder].
func (Encoder) Left(ref, channel string, reason presence.Reason) []byte {
	return socket.Text(func(b []byte) []byte {
		b = appendHead(b, "left", ref)
		b = append(b, `,"channel":`...)
		b = AppendString(b, channel)
		if reason != "" {
			b = append(b, `,"reason":`...)
			b = AppendString(b, string(reason))
		}
		return append(b, '}')
	})
}

// Presence implements [presence.Encoder].
func (Encoder) Presence(d presence.Diff) []byte {
	return socket.Text(func(b []byte) []byte {
		b = appendHead(b, "presence", "")
		b = append(b, `,"channel":`...)
		b = AppendString(b, d.Channel)
		b = append(b, `,"seq":`...)
		b = strconv.AppendUint(b, d.Seq, 10)
		if d.Kind != 0 {
			b = append(b, `,"kind":"`...)
			b = append(b, d.Kind.String()...)
			b = append(b, '"')
		}
		if d.Names == presence.NamesShown {
			b = appendChanges(b, d)
		}
		b = appendCount(b, d.Count)
		switch d.Names {
		case presence.NamesShown:
		case presence.NamesHidden:
			b = append(b, `,"names":false`...)
		case presence.NamesReturned:
			b = append(b, `,"names":true`...)
		}
		return append(b, '}')
	})
}

// appendChanges appends the users of a diff.
func appendChanges(b []byte, d presence.Diff) []byte {
	b = append(b, `,"joined":`...)
	b = appendViews(b, d.Joined, d.Hide, record)
	b = append(b, `,"left":`...)
	b = appendViews(b, d.Left, d.Hide|presence.FieldInfo|presence.FieldStatus, sender)
	if len(d.Updated) > 0 {
		b = append(b, `,"updated":`...)
		b = appendViews(b, d.Updated, d.Hide, record)
	}
	return b
}

// Message implements [presence.Encoder].
func (Encoder) Message(channel string, from presence.Source, message []byte) []byte {
	size := 80 + len(channel) + len(message) // if nothing needs escaping
	if from.User != nil {
		size += len(from.User.ID) + len(from.User.Email)
	}
	if from.Shown != nil {
		size += len(from.Shown.Sender)
	}
	return socket.Text(func(b []byte) []byte {
		b = slices.Grow(b, size)
		b = appendHead(b, "message", "")
		b = append(b, `,"channel":`...)
		b = AppendString(b, channel)
		b = append(b, `,"from":`...)
		switch {
		case from.Shown == nil:
			b = appendFrom(b, from)
		case from.Shown.Sender == "":
			b = append(b, "null"...)
		default:
			b = append(b, from.Shown.Sender...)
		}
		if from.Backend {
			b = append(b, `,"backend":true`...)
		}
		b = append(b, `,"message":`...)
		b = append(b, message...)
		return append(b, '}')
	})
}

// Welcome builds the first frame of a connection. If user is nil, it is anonymous.
func Welcome(id presence.ID, user *presence.User, ping time.Duration) []byte {
	return socket.Text(func(b []byte) []byte {
		b = appendHead(b, "welcome", "")
		b = append(b, `,"connection":`...)
		b = AppendString(b, id.String())
		b = append(b, `,"channel":`...)
		b = AppendString(b, id.PrivateChannel())
		b = append(b, `,"user":`...)
		if user == nil {
			b = append(b, "null"...)
		} else {
			b = appendSelf(b, *user)
		}
		b = append(b, `,"ping":`...)
		b = strconv.AppendFloat(b, ping.Seconds(), 'f', -1, 64)
		return append(b, '}')
	})
}

// Authenticated builds the answer to authenticate.
func Authenticated(ref string, user presence.User) []byte {
	return socket.Text(func(b []byte) []byte {
		b = appendHead(b, "authenticated", ref)
		b = append(b, `,"user":`...)
		b = appendSelf(b, user)
		return append(b, '}')
	})
}

// appendSelf appends the user of the connection that the frame is for: with the info, if there is
// any.
func appendSelf(b []byte, u presence.User) []byte { return appendShown(b, &u, presence.FieldStatus) }

// Sent builds the answer to send.
func Sent(ref string) []byte {
	return socket.Text(func(b []byte) []byte { return append(appendHead(b, "sent", ref), '}') })
}

// Status builds the answer to status, which is JSON, or "" for none.
func Status(ref, status string) []byte {
	return socket.Text(func(b []byte) []byte {
		b = append(appendHead(b, "status", ref), `,"status":`...)
		b = append(b, cmp.Or(status, "null")...)
		return append(b, '}')
	})
}

// Pong builds the answer to ping.
func Pong(ref string) []byte {
	return socket.Text(func(b []byte) []byte { return append(appendHead(b, "pong", ref), '}') })
}

// Failed builds the answer to a refused command.
func Failed(e *Error) []byte {
	return socket.Text(func(b []byte) []byte {
		b = appendHead(b, "error", e.Ref)
		b = append(b, `,"code":"`...)
		b = append(b, e.Code...)
		b = append(b, `","message":`...)
		b = AppendString(b, e.Message)
		return append(b, '}')
	})
}

// appendHead appends the start of a frame. ref is JSON.
func appendHead(b []byte, kind, ref string) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, kind...)
	b = append(b, '"')
	if ref != "" {
		b = append(b, `,"id":`...)
		b = append(b, ref...)
	}
	return b
}

// appendFrom appends the sender of a message; null if it is no user.
func appendFrom(b []byte, from presence.Source) []byte {
	if from.User == nil {
		return append(b, "null"...)
	}
	return appendShown(b, from.User, from.Hide|presence.FieldInfo|presence.FieldStatus)
}

func appendCount(b []byte, n int) []byte {
	b = append(b, `,"count":`...)
	return strconv.AppendInt(b, int64(n), 10)
}
