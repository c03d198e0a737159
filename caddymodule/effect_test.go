package caddymodule

import (
	"strings"
	"testing"
)

// Options that can have no effect are refused, because a reader of the Caddyfile would believe
// them. A plugin can add keys to users, and demand a grant for a channel.
func TestOptionsWithoutEffectAreRefused(t *testing.T) {
	asking := "authorize https://app.example.com/may-join {\nsecret " + backendSecret + "\n}\n"
	rules := plugin(assemble(t, "rules"), "") + "\n"
	for _, test := range []struct{ name, options, want string }{
		{"misspelt key", "members {\nshow info emial\n}", `members: show: "emial" is not id, email, info or status, and no plugin could add it: correct it, or write a plugin`},
		{"no key", "members {\nshow none\n}", `members: show: "none" is not id, email, info or status`},
		{"known keys", "members {\nshow id email info status\n}", ""},
		{"key of a plugin", "members {\nshow badge\n}\n" + rules, ""},
		{"nothing to ask about", asking, "authorize: no channel needs a grant, so the backend would never be asked: write granted and patterns in channels, or default granted"},
		{"quiet channels alone", asking + "channels {\nquiet news-*\nown user-{id}\n}", "authorize: no channel needs a grant"},
		{"granted channels", asking + "channels {\ngranted team-*\n}", ""},
		{"granted by default", asking + "channels {\ndefault granted\n}", ""},
		{"a plugin that may demand a grant", asking + rules, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, "http://portal.example.com {\n\trollcall {\n"+test.options+"\n\t}\n}")
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}
