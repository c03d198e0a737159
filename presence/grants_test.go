package presence

import (
	"errors"
	"slices"
	"testing"
)

// grantTable is a Granter: permissions by user and channel, "ada team-1".
type grantTable map[string]Permissions

func (g grantTable) Granted(_ HostName, channel string, user User) Permissions {
	return g[user.ID+" "+channel]
}

// grantsOf are the grants of a token.
func grantsOf(may Permissions, patterns ...string) *Grants {
	g := new(Grants)
	for _, p := range patterns {
		g.Patterns = append(g.Patterns, Grant{p, may})
	}
	return g
}

// byPlugin are the grants of plugins, each with its name, permissions and a pattern.
func byPlugin(parts ...any) *Grants {
	g := new(Grants)
	for p := range slices.Chunk(parts, 3) {
		g.Plugins = append(g.Plugins, PluginGrants{p[0].(string), []Grant{{p[2].(string), p[1].(Permissions)}}})
	}
	return g
}

func TestPermissionsInAChannel(t *testing.T) {
	patterns := Patterns{
		Own: []string{"user-"}, Granted: []string{"team-*"}, Authenticated: []string{"news-*"}, Anonymous: []string{"lobby-*"},
		Quiet: []string{"lobby-*", "news-*", "team-quiet"},
	}
	const listen = MayJoin | MaySee
	tests := []struct {
		name    string
		channel string
		user    string
		grants  *Grants
		assign  Permissions
		kept    Permissions
		want    Permissions
	}{
		{name: "open to users", channel: "room", user: "ada", want: MayAll},
		{name: "own", channel: "user-ada", user: "ada", want: MayAll},
		{name: "own of another user", channel: "user-ada", user: "bob", grants: grantsOf(MayAll, "*"), assign: MayAll, kept: MayAll},
		{name: "own of a user whose ID ends like that", channel: "user-x-ada", user: "ada", grants: grantsOf(MayAll, "*")},
		{name: "own of nobody", channel: "user-", user: "ada", grants: grantsOf(MayAll, "*"), assign: MayAll, kept: MayAll},
		{name: "own of a guest", channel: "user-ada", grants: grantsOf(MayAll, "*")},
		{name: "granted without a grant", channel: "team-1", user: "ada"},
		{name: "granted by token", channel: "team-1", user: "ada", grants: grantsOf(MayAll, "team-*"), want: MayAll},
		{
			name: "granted by token, union", channel: "team-1", user: "ada",
			grants: &Grants{Patterns: []Grant{{"team-*", MayJoin}, {"*-1", MaySend}, {"team-2", MaySee}}}, want: MayJoin | MaySend,
		},
		{name: "token without join", channel: "team-1", user: "ada", grants: grantsOf(MaySend|MaySee, "team-*")},
		{name: "another claim", channel: "team-1", user: "ada", grants: &Grants{Claim: "rooms", Patterns: []Grant{{"team-*", MayAll}}}},
		{name: "granted by a plugin", channel: "team-1", user: "ada", grants: byPlugin("roles", MayAll, "team-*"), want: MayAll},
		{name: "a plugin that may no longer grant", channel: "team-1", user: "ada", grants: byPlugin("gone", MayAll, "team-*")},
		{name: "two plugins, union", channel: "team-1", user: "ada", grants: byPlugin("roles", MayJoin, "team-*", "badges", MaySee, "*"), want: listen},
		{name: "a plugin without join", channel: "team-1", user: "ada", grants: byPlugin("roles", MaySend, "*")},
		{name: "own of another user, by a plugin", channel: "user-ada", user: "bob", grants: byPlugin("roles", MayAll, "*")},
		{name: "a guest with a plugin's grants", channel: "team-1", grants: byPlugin("roles", MayAll, "*")},
		{name: "a guest with grants", channel: "team-1", grants: grantsOf(MayAll, "team-*")},
		{name: "granted by assignment", channel: "team-1", user: "ada", assign: MayAll, want: MayAll},
		{name: "token and assignment", channel: "team-1", user: "ada", grants: grantsOf(MayJoin, "team-*"), assign: MaySee, want: listen},
		{name: "kept answer", channel: "team-1", user: "ada", kept: listen, want: listen},
		{name: "kept answer is not asked", channel: "team-1", user: "ada", grants: grantsOf(MayJoin, "team-*"), kept: MayAll, want: MayJoin},
		{name: "kept answer and token", channel: "team-1", user: "ada", grants: grantsOf(MaySend, "team-*"), kept: MayJoin, want: MayJoin | MaySend},
		{name: "granted and quiet", channel: "team-quiet", user: "ada", grants: grantsOf(MayAll, "team-*"), want: MayAll},
		{name: "granted and quiet without a grant", channel: "team-quiet", user: "ada"},
		{name: "quiet", channel: "news-1", user: "ada", assign: MayAll, kept: MayAll, want: listen},
		{name: "quiet with send", channel: "news-1", user: "ada", grants: grantsOf(MaySend, "news-*"), want: MayAll},
		{name: "quiet for a guest", channel: "lobby-1", grants: grantsOf(MaySend, "*"), want: listen},
		{name: "quiet and anonymous with send", channel: "lobby-1", user: "ada", grants: grantsOf(MaySend, "*"), want: MayAll},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key := tt.user + " " + tt.channel
			rules := &Rules{GrantPlugins: []string{"roles", "badges"}, Grants: grantTable{key: tt.assign}, Kept: grantTable{key: tt.kept}}
			q := question{rules: rules, name: tt.channel, grants: tt.grants}
			q.class, _ = patterns.Classify(HostName{}, tt.channel)
			if tt.user != "" {
				q.user, q.known = User{ID: tt.user}, true
			}
			if got := q.answer().may; got != tt.want {
				t.Errorf("got %03b, want %03b", got, tt.want)
			}
		})
	}
}

func TestJoinWithoutAGrant(t *testing.T) {
	rules := &Rules{Classifier: Patterns{Own: []string{"user-"}, Granted: []string{"team-*"}}}
	w := newWorld(t, rules)
	ada, guest := w.connect("ada"), w.connect("")
	ada.SetGrants(grantsOf(MayJoin, "team-join"))
	steps := []struct {
		c       *client
		channel string
		watch   Watch
		want    error
		not     error
	}{
		{ada, "team-1", WatchNone, ErrDenied, ErrGrantNeeded},
		{ada, "user-bob", WatchNone, errNotOwner, ErrGrantNeeded},
		{guest, "team-1", WatchNone, ErrLoginRequired, ErrDenied},
		{ada, "team-join", WatchCount, errMayNotSee, ErrGrantNeeded},
	}
	for _, s := range steps {
		if err := s.c.Join(s.channel, s.watch, ""); !errors.Is(err, s.want) || errors.Is(err, s.not) {
			t.Errorf("%s: %v, want %v", s.channel, err, s.want)
		}
		if _, active := w.host().KindOf(s.channel); active {
			t.Errorf("%s: a refused join has activated it", s.channel)
		}
	}
	rules.Kept = grantTable{}
	for channel, want := range map[string]bool{"team-1": true, "user-bob": false} {
		if err := ada.Join(channel, WatchNone, ""); errors.Is(err, ErrGrantNeeded) != want {
			t.Errorf("%s with authorize: %v", channel, err)
		}
	}
}
