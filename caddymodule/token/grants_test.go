package token

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestChannelsClaim(t *testing.T) {
	const listen = presence.MayJoin | presence.MaySee
	many := func(n int, format string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(list, ",")
	}
	tests := []struct {
		name, claim, value string // the value is JSON; "" for none
		want               []presence.Grant
		bad                string
	}{
		{"none", "", "", nil, ""},
		{"null", "", "null", nil, ""},
		{"empty array", "", "[]", nil, ""},
		{"empty object", "", "{}", nil, ""},
		{"array", "", `["team-*","a"]`, []presence.Grant{{Pattern: "team-*", May: presence.MayAll}, {Pattern: "a", May: presence.MayAll}}, ""},
		{
			"object", "", `{"b":["join","see"],"a":["send"],"c":[],"d":["fly","join","JOIN"]}`,
			[]presence.Grant{{Pattern: "a", May: presence.MaySend}, {Pattern: "b", May: listen}, {Pattern: "c", May: 0}, {Pattern: "d", May: presence.MayJoin}},
			"",
		},
		{"another claim", "rooms", `["a"]`, []presence.Grant{{Pattern: "a", May: presence.MayAll}}, ""},
		{"{id} is no placeholder", "", `["user-{id}"]`, []presence.Grant{{Pattern: "user-{id}", May: presence.MayAll}}, ""},
		{"text", "", `"*"`, nil, "neither an array"},
		{"number", "", `7`, nil, "neither an array"},
		{"true", "", `true`, nil, "neither an array"},
		{"a number in the array", "", `["a",7]`, nil, "neither an array"},
		{"an array in the array", "", `[["a"]]`, nil, "neither an array"},
		{"a text as permissions", "", `{"a":"join"}`, nil, "neither an array"},
		{"no permissions", "", `{"a":["join"],"b":null}`, nil, "neither an array"},
		{"a number as a permission", "", `{"a":["join",1]}`, nil, "neither an array"},
		{"257 patterns", "", "[" + many(257, `"%d"`) + "]", nil, "more than 256 patterns"},
		{"257 keys", "", "{" + many(257, `"%d":[]`) + "}", nil, "more than 256 patterns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := mustNew(t, Config{Secret: testSecret, ChannelsClaim: tt.claim})
			claim, payload := "channels", `{"sub":"ada"`
			if tt.claim != "" {
				claim = tt.claim
				payload += `,"channels":["*"]`
			}
			if tt.value != "" {
				payload += `,"` + claim + `":` + tt.value
			}
			id, err := v.Verify(t.Context(), signPayload(t, hs256, payload+"}"), testHost)
			if err != nil || id.ID != "ada" {
				t.Fatalf("the login fails: %+v, %v", id, err)
			}
			var want *presence.Grants
			if tt.want != nil {
				want = &presence.Grants{Claim: claim, Patterns: tt.want}
			}
			if !reflect.DeepEqual(id.Grants, want) {
				t.Errorf("grants %+v, want %+v", id.Grants, want)
			}
			switch {
			case tt.bad == "" && id.BadGrants != nil:
				t.Errorf("refused: %v", id.BadGrants)
			case tt.bad != "" && (id.BadGrants == nil || !strings.Contains(id.BadGrants.Error(), tt.bad)):
				t.Errorf("refused: %v, want %q", id.BadGrants, tt.bad)
			}
		})
	}
	v := mustNew(t, Config{Secret: testSecret})
	id, err := v.Verify(t.Context(), signPayload(t, hs256, `{"sub":"a","channels":[`+many(256, `"%d"`)+`]}`), testHost)
	if err != nil || len(id.Grants.Patterns) != 256 {
		t.Errorf("256 patterns: %v, %v", id.Grants, err)
	}
}

// FuzzChannelsClaim checks that no value of the claim grants more than 256 patterns or an unknown
// permission, panics, or refuses the login.
func FuzzChannelsClaim(f *testing.F) {
	for _, value := range []string{`["a","*"]`, `{"a":["join","send","see","x"]}`, `[[]]`, `{"a":{}}`, `7`, `null`, `{"\ud800":["join"]}`} {
		f.Add(value)
	}
	v := mustNew(f, Config{Secret: testSecret})
	f.Fuzz(func(t *testing.T, value string) {
		id, err := v.Verify(t.Context(), signPayload(t, hs256, `{"sub":"ada","channels":`+value+`}`), testHost)
		if err != nil {
			return // no JSON, or another claim in the value
		}
		if id.Grants == nil {
			return
		}
		if id.BadGrants != nil || len(id.Grants.Patterns) > maxPatterns || id.Grants.Claim != "channels" {
			t.Errorf("%s: %+v", value, id)
		}
		for _, g := range id.Grants.Patterns {
			if g.May&^presence.MayAll != 0 {
				t.Errorf("%s: grants %v", value, g)
			}
		}
	})
}
