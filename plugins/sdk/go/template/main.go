// PLUGIN_NAME is a plugin of the Rollcall presence gateway.
//
// Its options, in the plugin block of the Caddyfile:
//
//	config {
//		# [hook classify]
//		open  lobby- help   # anonymous connections may join channels with these prefixes
//		# [end]
//		# [hook authorize]
//		staff example.com   # channels that begin with staff- are for e-mail addresses at this domain
//		# [end]
//		# [hook connect]
//		ban   mallory       # users who may not log in
//		# [end]
//		# [hook message]
//		words darn heck     # messages whose text contains one of these are refused
//		limit 100           # messages of a user in a minute
//		# [end]
//		# [hook members]
//		badge guest         # badge of each listed user; none by default
//		# [end]
//		# [hook shape]
//		wrap  channels      # key of an object that answers are wrapped in
//		# [end]
//	}
package main

import (
	// [hook connect]
	"slices"
	// [end]
	// [hook classify authorize message]
	"strings"
	// [end]
	// [hook message]
	"time"
	// [end]

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	// [hook authorize]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/authorize"
	// [end]
	// [hook classify]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/classify"
	// [end]
	// [hook connect]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/connect"
	// [end]
	// [hook message]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/kv"
	// [end]
	// [hook members]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
	// [end]
	// [hook message]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/message"
	// [end]
	// [hook shape]
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/shape"
	// [end]
)

// Options.
var (
	// [hook classify]
	open []string
	// [end]
	// [hook authorize]
	staff string
	// [end]
	// [hook connect]
	ban []string
	// [end]
	// [hook message]
	words []string
	limit int64
	// [end]
	// [hook members]
	badge string
	// [end]
	// [hook shape]
	wrap string
	// [end]
)

func init() {
	rollcall.Configure(configure)
	// [hook connect]
	connect.Handle(login)
	// [end]
	// [hook classify]
	classify.Handle(kind)
	// [end]
	// [hook authorize]
	authorize.Handle(join)
	// [end]
	// [hook message]
	message.Handle(send)
	// [end]
	// [hook members]
	members.Handle(show)
	// [end]
	// [hook shape]
	shape.Handle(answer)
	// [end]
}

func configure(c *rollcall.Config) error {
	// [hook classify]
	open = c.Strings("open")
	// [end]
	// [hook authorize]
	staff = c.String("staff", "")
	// [end]
	// [hook connect]
	ban = c.Strings("ban")
	// [end]
	// [hook message]
	words = c.Strings("words")
	limit = c.Int("limit", 0)
	// [end]
	// [hook members]
	badge = c.String("badge", "")
	// [end]
	// [hook shape]
	wrap = c.String("wrap", "")
	// [end]
	return nil
}

// [hook connect]

// login decides whether a login is accepted.
func login(l *connect.Login) connect.Result {
	if !l.Anonymous && slices.Contains(ban, l.UserID) {
		return connect.Refuse
	}
	return connect.Accept
}

// [end]
// [hook classify]

// kind decides the kind of a channel.
func kind(r *rollcall.Request) rollcall.Decision {
	for _, prefix := range open {
		if strings.HasPrefix(r.Channel, prefix) {
			return rollcall.Anonymous
		}
	}
	return rollcall.NoOpinion
}

// [end]
// [hook authorize]

// join decides whether a connection may join a channel.
func join(r *rollcall.Request) authorize.Verdict {
	if staff != "" && strings.HasPrefix(r.Channel, "staff-") && !strings.HasSuffix(r.Email, "@"+staff) {
		return authorize.Denied
	}
	return authorize.NoObjection
}

// [end]
// [hook message]

// send decides whether a message is sent.
func send(m *message.Message) message.Result {
	text := m.Text("text")
	for _, word := range words {
		if strings.Contains(text, word) {
			return message.Refuse
		}
	}
	if limit > 0 && m.UserID != "" && kv.Add("m|"+m.UserID[:min(len(m.UserID), 126)], 1, time.Minute) > limit {
		return message.Refuse
	}
	return message.Send
}

// [end]
// [hook members]

// show changes what an answer shows of a user.
func show(_ rollcall.Endpoint, m *members.Member) {
	if badge != "" {
		m.Set("badge", badge)
	}
}

// [end]
// [hook shape]

// answer changes a whole answer.
func answer(_ rollcall.Endpoint, body []byte) ([]byte, error) {
	if wrap == "" {
		return nil, nil
	}
	return append([]byte(`{"`+wrap+`":`), append(body, '}')...), nil
}

// [end]

func main() {} // never runs: Rollcall calls the hooks
