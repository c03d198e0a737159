package assemblyscript_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins/sdk/internal/guest"
)

const exampleFile = "../../../examples/team-totals/team-totals.wasm"

func TestTeamTotals(t *testing.T) {
	const (
		ann = `{"id":"1","email":"ann@acme.example"}`
		bob = `{"id":"2","email":"bob@ACME.test"}`
		eve = `{"id":"3","email":""}`
	)
	const channels = `{"sales-emea":[` + ann + `,` + bob + `],"sales-us":[` + bob + `],"it-1":[` + eve + `],"lobby":3,` +
		`"tab|a":` + ann + `,"tab|b":{"id":"4","email":"dan@else.example"},"tab|c":1}`
	for _, c := range []struct{ name, config, body, want string }{
		{
			"by channel", `{}`, channels,
			`{"teams":{` +
				`"sales":{"total":2,"counted":0,"channels":["sales-emea","sales-us"],"users":[` + ann + `,` + bob + `]},` +
				`"it":{"total":1,"counted":0,"channels":["it-1"],"users":[` + eve + `]},` +
				`"other":{"total":1,"counted":3,"channels":["lobby"],"users":[{"id":"4","email":"dan@else.example"}]}},` +
				`"total":4,"counted":3}`,
		},
		{
			"by e-mail", `{"team_from":"email","other":"guests","teams":{"acme":["acme.example","acme.test"]}}`, channels,
			`{"teams":{` +
				`"acme":{"total":2,"counted":0,"channels":["sales-emea","sales-us"],"users":[` + ann + `,` + bob + `]},` +
				`"guests":{"total":1,"counted":3,"channels":["it-1","lobby"],"users":[` + eve + `]},` +
				`"else.example":{"total":1,"counted":0,"channels":[],"users":[{"id":"4","email":"dan@else.example"}]}},` +
				`"total":4,"counted":3}`,
		},
		{
			"another separator", `{"separator":"::"}`, `{"a::b":1,"a::c":2,"::d":4,"e-f":8}`,
			`{"teams":{"a":{"total":0,"counted":3,"channels":["a::b","a::c"],"users":[]},` +
				`"other":{"total":0,"counted":12,"channels":["::d","e-f"],"users":[]}},"total":0,"counted":15}`,
		},
		{"nobody", `{}`, `{}`, `{"teams":{},"total":0,"counted":0}`},
		{
			"users without id and address", `{}`, `{"a-b":[{"x":1},{"x":2},{"x":1}]}`,
			`{"teams":{"a":{"total":2,"counted":0,"channels":["a-b"],"users":[{"x":1},{"x":2}]}},"total":2,"counted":0}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := guest.New(t, guest.Read(t, exampleFile))
			config := []byte(`{"host":"h","plugin":"team-totals","config":` + c.config + `}`)
			if refused, err := g.Call("rollcall_configure", config); err != nil || refused != 0 {
				t.Fatalf("configure: %d, %v, log %q", refused, err, g.Logs)
			}
			for range 2 { // a call leaves nothing behind for the next
				if got, err := g.Slice("rollcall_shape", []byte(c.body), 1); err != nil || string(got) != c.want {
					t.Errorf("got %s, %v; want %s", got, err, c.want)
				}
			}
			if got, err := g.Slice("rollcall_shape", []byte(c.body), 2); err != nil || got != nil {
				t.Errorf("another endpoint: got %s, %v; want no change", got, err)
			}
		})
	}
}

func TestTeamTotalsRefusesMistakes(t *testing.T) {
	for config, want := range map[string]string{
		`{"team_form":"email"}`:   "3 config.team_form: unknown; known are team_from, separator, other, teams",
		`{"team_from":"x"}`:       "3 config.team_from: want channel or email, got x",
		`{"separator":""}`:        "3 config.separator: want at least one character",
		`{"teams":{"a":"b"}}`:     "3 config.teams: needs team_from email: it names teams by e-mail domain",
		`{"teams":"a"}`:           "3 config.teams: want a block in braces, got a word",
		`{"other":["one","two"]}`: "3 config.other: want one word, got several words",
	} {
		g := guest.New(t, guest.Read(t, exampleFile))
		refused, err := g.Call("rollcall_configure", []byte(`{"host":"h","plugin":"p","config":`+config+`}`))
		if err != nil || refused == 0 || len(g.Logs) != 1 || g.Logs[0] != want {
			t.Errorf("%s: got %d, %v, log %q; want %q", config, refused, err, g.Logs, want)
		}
	}
}

// TestTeamTotalsTakesTheLongestAnswer passes 256 KiB, the default limit of document, with 16 MiB of
// memory.
func TestTeamTotalsTakesTheLongestAnswer(t *testing.T) {
	g := guest.New(t, guest.Read(t, exampleFile))
	config := []byte(`{"host":"h","plugin":"p","config":{}}`)
	if refused, err := g.Call("rollcall_configure", config); err != nil || refused != 0 {
		t.Fatalf("configure: %d, %v, log %q", refused, err, g.Logs)
	}
	var users []string
	for size := 0; size < 255<<10; {
		user := fmt.Sprintf(`{"id":"%d","email":"user-%d@example.com"}`, len(users), len(users))
		users = append(users, user)
		size += len(user) + 1
	}
	body := []byte(`{"a-b":[` + strings.Join(users, ",") + `]}`)
	for range 20 {
		got, err := g.Slice("rollcall_shape", body, 1)
		if err != nil || !strings.HasSuffix(string(got), fmt.Sprintf(`"total":%d,"counted":0}`, len(users))) {
			t.Fatalf("got %d bytes, %v, log %q", len(got), err, g.Logs)
		}
	}
	t.Logf("%d users in %d bytes: memory %d KiB", len(users), len(body), g.Memory()>>10)
}
