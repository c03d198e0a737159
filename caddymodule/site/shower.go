package site

import (
	"strings"

	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// pluginShower shows users as the plugins of a site do. A failure is already logged.
type pluginShower struct {
	chain   *plugins.Chain
	show    []string
	version string
}

func newPluginShower(chain *plugins.Chain, show []string) *pluginShower {
	version := chain.Version(plugins.HookMembersLive) + strings.Join(show, " ")
	return &pluginShower{chain: chain, show: show, version: version}
}

var _ presence.Shower = (*pluginShower)(nil)

// Version implements presence.Shower.
func (s *pluginShower) Version() string { return s.version }

// Show implements presence.Shower.
func (s *pluginShower) Show(host presence.HostName, users []presence.User) []presence.Shown {
	list := make([]plugins.User, len(users))
	for i, u := range users {
		list[i] = plugins.User{ID: u.ID, Email: u.Email, Info: u.Info, Status: u.Status}
	}
	records, _ := s.chain.Show(plugins.EndpointLive, host.String(), s.show, list)
	shown := make([]presence.Shown, len(records))
	for i, r := range records {
		shown[i] = presence.Shown{ID: r.ID, Record: r.Record, Sender: r.Sender, Failed: r.Failed}
		if r.ID == users[i].ID {
			shown[i].ID = users[i].ID // one copy
		}
	}
	return shown
}

// NameUsers returns the JSON object that events have of each user, as the plugins of the site name
// it: "" for a user that they hide. It returns nil if no plugin knows events. failed reports that
// another call may have another result.
func (s *Site) NameUsers(host presence.HostName, users []presence.User) (names []string, failed bool) {
	if !s.Chain.Has(plugins.HookMembersLive) {
		return nil, false
	}
	list := make([]plugins.User, len(users))
	for i, u := range users {
		list[i] = plugins.User{ID: u.ID, Email: u.Email, Info: u.Info}
	}
	records, err := s.Chain.Show(plugins.EndpointEvents, host.String(), nil, list)
	names = make([]string, len(records))
	for i, r := range records {
		names[i] = r.Record
	}
	return names, err != nil
}
