package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// summed is Pods with the same answer to each /message/allusers.
type summed struct {
	Pods
	dcs   []cluster.DataCenter
	truth cluster.Truth
}

func (c summed) AllUsers(context.Context, presence.HostName, bool, presence.Per) ([]cluster.DataCenter, cluster.Truth) {
	return c.dcs, c.truth
}

func (c summed) Users(context.Context, presence.HostName, cluster.Scope, presence.Per, presence.Page) ([]presence.Listing, string, cluster.Truth) {
	return nil, "", cluster.Truth{TooMany: 1_000_001, Missing: []string{"c/1"}}
}

func TestTooManyListingsOfAllPods(t *testing.T) {
	s := New(Config{
		Registry:  presence.NewRegistry(nil),
		PodsToAsk: func(*site.Site, cluster.Scope) (Pods, cluster.Truth) { return summed{}, cluster.Truth{} },
	})
	body, p := parseRequest([]byte(`{"requireComplete":true}`))
	if p != nil {
		t.Fatal(p)
	}
	_, p = s.users(t.Context(), request{site: &site.Site{}, body: body})
	if p == nil || p.Status != http.StatusRequestEntityTooLarge || p.Code != "too_large" || !strings.Contains(p.Detail, "1000001 users and channels") {
		t.Errorf("problem %+v", p)
	}
}

func TestTooManyUsersAreNotListed(t *testing.T) {
	few := cluster.DataCenter{Name: "a", Authenticated: 1, Users: []presence.User{{ID: "ada"}}}
	many := cluster.DataCenter{Name: "b", Authenticated: cluster.MaxListed}
	for _, tt := range []struct {
		name   string
		body   string
		dcs    []cluster.DataCenter
		want   string // of the body; "" for a problem
		detail string
	}{
		{"few", `{"includeUsers":true}`, []cluster.DataCenter{few}, `"authenticated":[{"id":"ada"`, ""},
		{"many", `{"includeUsers":true}`, []cluster.DataCenter{few, many}, "", "has 1000001 users"},
		{"many, and an incomplete answer is none", `{"includeUsers":true,"requireComplete":true}`, []cluster.DataCenter{many}, "", "has 1000000 users"},
		{"many are counted", `{}`, []cluster.DataCenter{many}, `"b":{"authenticated":1000000`, ""},
		{"no data center", `{"includeUsers":true}`, nil, `{"_total":{"authenticated":0,`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(Config{PodsToAsk: func(*site.Site, cluster.Scope) (Pods, cluster.Truth) {
				return summed{dcs: tt.dcs, truth: cluster.Truth{Missing: []string{"c/1"}}}, cluster.Truth{}
			}})
			body, p := parseRequest([]byte(tt.body))
			if p != nil {
				t.Fatal(p)
			}
			r, p := s.allUsers(t.Context(), request{site: &site.Site{}, body: body})
			if tt.want == "" {
				if p == nil || p.Status != http.StatusRequestEntityTooLarge || p.Code != "too_large" || !strings.Contains(p.Detail, tt.detail) {
					t.Fatalf("problem %+v", p)
				}
				return
			}
			if got := string(slices.Concat(r.pieces...)); p != nil || !strings.Contains(got, tt.want) {
				t.Errorf("%s, problem %+v", got, p)
			}
		})
	}
}
