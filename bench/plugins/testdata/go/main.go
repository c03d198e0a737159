// The Go guest: a lobby is anonymous, staff rooms are hidden, e-mail addresses are masked.
package main

import (
	"strings"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/classify"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

func init() {
	classify.Handle(kind)
	members.Handle(show)
}

func kind(r *rollcall.Request) rollcall.Decision {
	switch {
	case strings.HasPrefix(r.Channel, "lobby-"):
		return rollcall.Anonymous
	case strings.HasPrefix(r.Channel, "staff-"):
		return rollcall.Authenticated.Hidden()
	default:
		return rollcall.NoOpinion
	}
}

func show(_ rollcall.Endpoint, m *members.Member) {
	name, domain, _ := strings.Cut(m.Email(), "@")
	m.Set("email", name[:1]+"***@"+domain)
}

func main() {}
