// PLUGIN_NAME is a plugin of the Rollcall presence gateway.
//
// Its options, in the plugin block of the Caddyfile:
//
//	config {
//		open  lobby- help   # anonymous connections may join channels with these prefixes
//		badge guest         # badge of each listed user; none by default
//	}
package main

import (
	"strings"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/classify"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

// Options.
var (
	open  []string
	badge string
)

func init() {
	rollcall.Configure(configure)
	classify.Handle(kind)
	members.Handle(show)
}

func configure(c *rollcall.Config) error {
	open = c.Strings("open")
	badge = c.String("badge", "")
	return nil
}

// kind decides the kind of a channel.
func kind(r *rollcall.Request) rollcall.Decision {
	for _, prefix := range open {
		if strings.HasPrefix(r.Channel, prefix) {
			return rollcall.Anonymous
		}
	}
	return rollcall.NoOpinion
}

// show changes what an answer shows of a user.
func show(_ rollcall.Endpoint, m *members.Member) {
	if badge != "" {
		m.Set("badge", badge)
	}
}

func main() {} // never runs: Rollcall calls the hooks
