package token

import (
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/presence"
)

// The claims that plugins get are those that the verification has read.
func TestClaimsOfAToken(t *testing.T) {
	for _, tt := range []struct{ payload, want string }{
		{`{ "sub": "ada", "n": 12345678901234567890, "x": "<&>" }`, `{"n":12345678901234567890,"sub":"ada","x":"<&>"}`},
		{`{"sub":"first","sub":"last"}`, `{"sub":"last"}`},
		{`{"a":{"z":1,"b":[1e400]}}`, `{"a":{"b":[1e400],"z":1}}`},
	} {
		parts := []string{jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{}).EncodeSegment([]byte("{}")), "", "signature"}
		parts[1] = new(jwt.Token).EncodeSegment([]byte(tt.payload))
		if got := Claims(strings.Join(parts, ".")); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.payload, got, tt.want)
		}
	}
	for _, raw := range []string{"", "a", "a.b.c", "a." + new(jwt.Token).EncodeSegment([]byte("\xff")) + ".c"} {
		if got := Claims(raw); got != "" {
			t.Errorf("%q: got %s", raw, got)
		}
	}
}

func TestParseGrants(t *testing.T) {
	many := `["a"` + strings.Repeat(`,"a"`, maxPatterns)
	for _, tt := range []struct {
		name, text string
		want       []presence.Grant
		err        error
	}{
		{"patterns", `["team-*","news"]`, []presence.Grant{{Pattern: "team-*", May: presence.MayAll}, {Pattern: "news", May: presence.MayAll}}, nil},
		{"permissions", `{"b":["join"],"a":["join","send","fly"]}`, []presence.Grant{{Pattern: "a", May: presence.MayJoin | presence.MaySend}, {Pattern: "b", May: presence.MayJoin}}, nil},
		{"none", `[]`, nil, nil},
		{"null", `null`, nil, errGrantsType},
		{"a text", `"team-*"`, nil, errGrantsType},
		{"a number among them", `["a",1]`, nil, errGrantsType},
		{"a word as permissions", `{"a":"join"}`, nil, errGrantsType},
		{"no JSON", `[`, nil, errGrantsType},
		{"as many as there may be", strings.TrimSuffix(many, `,"a"`) + "]", nil, nil},
		{"too many", many + "]", nil, errManyGrants},
		{"too long", `["` + strings.Repeat("x", maxGrants) + `"]`, nil, errGrantsSize},
	} {
		got, err := ParseGrants([]byte(tt.text))
		if !errors.Is(err, tt.err) || !errors.Is(CheckGrants([]byte(tt.text)), tt.err) || tt.want != nil && len(got) != len(tt.want) {
			t.Errorf("%s: got %v, %v", tt.name, got, err)
			continue
		}
		for i := range tt.want {
			if got[i] != tt.want[i] {
				t.Errorf("%s: got %v", tt.name, got)
			}
		}
	}
}
