// PLUGIN_NAME is a plugin of the Rollcall presence gateway.
//
// Its options, in the plugin block of the Caddyfile:
//
//	config {
//		open  lobby- help   # channels whose names begin with one of these are open to anonymous connections
//		badge guest         # what each listed user wears; none by default
//	}
package main

import (
	"strings"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/classify"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

// The options.
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

// kind decides what kind a channel is.
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
