// Roles is a Rollcall plugin that reads the role of a user from a claim of the token. A role opens
// channels, and other users see it as a badge.
//
// Its options, in the plugin block of the Caddyfile, which must say grants:
//
//	config {
//		claim role                 # name of the claim; "role" by default
//		opens {
//			host  stage-* backstage  # channels of each role, as patterns
//			guest stage-*
//		}
//		refuse banned              # roles that may not log in; none by default
//	}
package main

import (
	"errors"
	"slices"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/connect"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

// Options.
var (
	claim   string
	opens   map[string][]string // by role
	refused []string
)

func init() {
	rollcall.Configure(configure)
	connect.Handle(login)
	members.Handle(badge)
}

func configure(c *rollcall.Config) error {
	claim = c.String("claim", "role")
	refused = c.Strings("refuse")
	opens = make(map[string][]string)
	block := c.Block("opens")
	for _, role := range block.Names() {
		opens[role] = block.Strings(role)
	}
	if len(opens) == 0 && len(refused) == 0 {
		return errors.New("config: write opens or refuse, or this plugin does nothing")
	}
	return nil
}

// login opens the channels of the user's roles. Several roles are a list in the claim.
func login(l *connect.Login) connect.Result {
	if l.Anonymous {
		return connect.Accept
	}
	roles := l.Claims.Get(claim).Texts()
	var channels []string
	known := ""
	for _, role := range roles {
		if slices.Contains(refused, role) {
			return connect.Refuse
		}
		patterns, ok := opens[role]
		if !ok {
			continue
		}
		if known == "" {
			known = role
		}
		for _, p := range patterns {
			if !slices.Contains(channels, p) {
				channels = append(channels, p)
			}
		}
	}
	if known == "" {
		return connect.Accept
	}
	info := l.Info
	if !info.IsObject() {
		info, _ = rollcall.ParseJSON([]byte("{}"))
	}
	return connect.Accept.WithInfo(string(info.WithText("role", known))).WithChannels(channels...)
}

// badge shows the role of a user as a key of its own, and nothing else of the info.
func badge(_ rollcall.Endpoint, m *members.Member) {
	info, err := rollcall.ParseJSON([]byte(m.Info()))
	if err != nil {
		return // there is none
	}
	if role := info.Get("role").Text(); role != "" {
		m.Set("badge", role)
	}
}

func main() {} // never runs: Rollcall calls the hooks
