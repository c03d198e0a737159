package caddymodule

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

func TestUsersAreAssignedToNoOwnChannel(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	h := mustLoad(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n\t\tchannels {\n\t\t\town user-{id}\n\t\t\tgranted team-*\n\t\t}\n\t}\n}").handler(t)
	for _, owner := range []string{"ada", ""} {
		w := post(t, h, "/message/adduser", `{"apiKey":"k","users":[{"id":"ada","channels":[{"name":"team-1"},{"name":"user-`+owner+`"}]}]}`)
		checkProblem(t, w, http.StatusBadRequest, "bad_channel")
		if !strings.Contains(w.Body.String(), `"channel":"user-`+owner+`"`) {
			t.Errorf("the answer does not name the channel: %s", w.Body)
		}
	}
	ada := arrive(t, h, "portal.example.com", "ada", "")
	if err := ada.Join("team-1", presence.WatchNone, ""); !errors.Is(err, presence.ErrDenied) {
		t.Errorf("a refused request has assigned: %v", err)
	}
	wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"team-1"}]}]`, "ada")
	if err := ada.Join("team-1", presence.WatchCount, ""); err != nil {
		t.Errorf("an assignment is no grant: %v", err)
	}
}

// A plugin demands a grant where the patterns do not, and opens nothing where they do.
func TestPluginsAndGrants(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	failed := map[string]error{"deny": presence.ErrUnavailable, "pass": presence.ErrDenied}
	for _, policy := range []string{"deny", "pass"} {
		t.Run(policy, func(t *testing.T) {
			h := mustLoad(t, "http://portal.example.com {\n\trollcall {\n\t\tapi_key k\n"+
				plugin(assemble(t, "rules"), "on_failure "+policy)+
				"\n\t\tchannels {\n\t\t\tgranted o* t*\n\t\t}\n\t}\n}").handler(t)
			ada, guest := arrive(t, h, "portal.example.com", "ada", ""), arrive(t, h, "portal.example.com", "", "")
			for _, step := range []struct {
				who     *presence.Conn
				channel string
				want    error
			}{
				{ada, "great", presence.ErrDenied},
				{guest, "great", presence.ErrLoginRequired},
				{ada, "number", nil},
				{ada, "open", failed[policy]},     // the plugin says anonymous
				{ada, "trapping", failed[policy]}, // and traps
			} {
				if err := step.who.Join(step.channel, presence.WatchNone, ""); !errors.Is(err, step.want) {
					t.Errorf("%s: %v, want %v", step.channel, err, step.want)
				}
			}
			wantCreated(t, h, "adduser", `[{"id":"ada","channels":[{"name":"great"}]}]`, "ada")
			if err := ada.Join("great", presence.WatchList, ""); err != nil {
				t.Errorf("assigned: %v", err)
			}
			wantCreated(t, h, "removeuser", `[{"id":"ada"}]`, "ada")
		})
	}
}

// Tokens with a claim that grants nothing log users in. The log says it once a minute.
func TestBadClaimIsLoggedOnce(t *testing.T) {
	h := mustLoad(t, "http://portal.example.com {\n\trollcall {\n\t\tjwt {\n\t\t\tkey "+strings.Repeat("k", 32)+"\n\t\t}\n\t}\n}").handler(t)
	core, logs := observer.New(zap.WarnLevel)
	h.rollcall.Site.Logger = zap.New(core)
	for _, claim := range []any{"*", 7, map[string]string{"a": "join"}} {
		raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ada", "channels": claim}).SignedString([]byte(strings.Repeat("k", 32)))
		if err != nil {
			t.Fatal(err)
		}
		id, err := h.rollcall.Site.Verify(t.Context(), raw, testkit.MustHost(t, "portal.example.com"))
		if err != nil || id.ID != "ada" || id.Grants != nil {
			t.Errorf("%v: %+v, %v", claim, id, err)
		}
	}
	lines := logs.FilterMessage("a token grants no channels").All()
	if len(lines) != 1 || lines[0].ContextMap()["claim"] != "channels" || lines[0].ContextMap()["host"] != "portal.example.com" {
		t.Errorf("logged: %v", logs.All())
	}
}
