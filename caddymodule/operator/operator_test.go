package operator

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func TestWithoutEmail(t *testing.T) {
	for object, want := range map[string]string{
		`{"id":"ada","email":"a@example.com"}`: `{"id":"ada"}`, `{"name":"Ada"}`: `{"name":"Ada"}`, `{}`: `{}`,
		`{"Email":1,"EMAIL":1,"e-mail":1,"E_Mail":1,"mail":1,"Mail":1,"emailAddress":1,"deep":[{"eMail":"a"}],"mailbox":1}`: `{"deep":[{}],"mailbox":1}`,
		`1`: `{}`, `null`: `{}`, `{"email":`: `{}`,
		`{"profile":{"email":"a@example.com","n":12345678901234567890}}`:                        `{"profile":{"n":12345678901234567890}}`,
		`{"teams":[[{"lead":{"email":{"work":"a@example.com"}}}],"email"],"emails":1,"a":null}`: `{"a":null,"emails":1,"teams":[[{"lead":{}}],"email"]}`,
	} {
		if got := string(withoutEmail([]byte(object))); got != want {
			t.Errorf("%s: %s, want %s", object, got, want)
		}
	}
}

// pods have one connection of ada, in a channel that listings have, a hidden one and one whose
// class is not known.
type pods struct {
	Pods
	site *site.Site
}

func (p pods) SiteOf(host presence.HostName) *site.Site {
	if host.String() == "portal.example.com" {
		return p.site
	}
	return nil
}

func (pods) ExplainAll(_ context.Context, _ presence.HostName, user string) ([]cluster.PodConnection, cluster.Truth) {
	if user != "ada" {
		return nil, cluster.Truth{Complete: true}
	}
	return []cluster.PodConnection{{DataCenter: "x", Pod: "1", Connection: message.Connection{
		ID: "c", Email: "ada@example.com", Since: 1_700_000_000_000, LastSign: 1_700_000_001_000, Channels: []string{"broken", "hidden", "room"},
	}}}, cluster.Truth{Missing: []string{"x/2"}}
}

func (pods) AllHosts(context.Context, presence.HostName) ([]cluster.PodHost, cluster.Truth) {
	return nil, cluster.Truth{Missing: []string{"x/2"}}
}

// actor does everything, as if no other pod had a part in it.
type actor struct{}

func (actor) Act(context.Context, string, *site.Site, presence.HostName, []byte) (api.Acted, error) {
	return api.Acted{Body: []byte(`{}`), Truth: cluster.Truth{Complete: true}}, nil
}

func TestSentMessageNamesPodsThatDoNotAnswer(t *testing.T) {
	o := New(pods{site: new(site.Site)}, actor{}, zap.NewNop())
	host := testkit.MustHost(t, "portal.example.com")
	for action, complete := range map[string]bool{"sendmessage": false, "disconnect": true, "leave": true} {
		r, err := o.Act(t.Context(), "ada", host, action, nil)
		if err != nil || r.Complete != complete || (len(r.Missing) == 0) != complete {
			t.Errorf("%s: %+v, %v", action, r, err)
		}
	}
}

// AllListeners has a channel with two users on each of two pods, of whom one is on both.
func (pods) AllListeners(context.Context, presence.HostName, presence.Listeners) (
	[]presence.Listing, []cluster.PodListener, string, cluster.Truth,
) {
	part := presence.Listing{Channel: "room", Kind: presence.Authenticated, Count: 2}
	return []presence.Listing{part, part}, nil, "", cluster.Truth{Complete: true}
}

func (pods) AllChannels(_ context.Context, _ presence.HostName, page presence.Page) ([]presence.Listing, string, cluster.Truth) {
	if page.Prefix != "room" || page.Limit != 1 {
		return nil, "", cluster.Truth{Complete: true}
	}
	return []presence.Listing{{Channel: "room", Kind: presence.Authenticated, Count: 3}}, "", cluster.Truth{Missing: []string{"x/2"}}
}

func (pods) ResetBreakers(plugin, _ string) bool { return plugin == "mask" }

// classes hides a channel, and does not know another.
type classes struct{}

func (classes) Classify(_ presence.HostName, channel string) (presence.Class, error) {
	if channel == "broken" {
		return presence.Class{}, errors.New("a plugin failed")
	}
	return presence.Class{Kind: presence.Authenticated, Hidden: channel == "hidden"}, nil
}

func TestUsersOnSeveralPodsCountOnce(t *testing.T) {
	o := New(pods{site: new(site.Site)}, nil, zap.NewNop())
	list, err := o.Users(t.Context(), testkit.MustHost(t, "portal.example.com"), "room", "", 1)
	if err != nil || list.Channel == nil || list.Channel.Count != 3 || list.Complete || len(list.Missing) != 1 {
		t.Errorf("%+v of %+v, %v", list, list.Channel, err)
	}
}

func TestUserIsShownWithoutHiddenChannels(t *testing.T) {
	of := new(site.Site)
	of.SetRules(&presence.Rules{Classifier: classes{}})
	o := New(pods{site: of}, nil, zap.NewNop())
	host := testkit.MustHost(t, "portal.example.com")
	f, err := o.User(t.Context(), host, "ada")
	if err != nil || f.User == nil || f.Complete || len(f.Missing) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	c := f.User.Connections[0]
	if string(f.User.User) != `{"id":"ada"}` || f.User.Since != "2023-11-14T22:13:20.000Z" || len(c.Channels) != 1 || c.Channels[0] != "room" || c.Hidden != 2 {
		t.Errorf("%+v", f.User)
	}
	if f, err := o.User(t.Context(), host, "nobody"); err != nil || f.User != nil || !f.Complete {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := o.User(t.Context(), testkit.MustHost(t, "elsewhere.example"), "ada"); !errors.Is(err, ErrNoHost) {
		t.Error(err)
	}
	if err := o.ResetBreaker("ada", "mask", ""); err != nil {
		t.Error(err)
	}
	if err := o.ResetBreaker("ada", "another", ""); !errors.Is(err, ErrNoPlugin) {
		t.Error(err)
	}
}
