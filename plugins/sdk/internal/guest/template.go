package guest

import (
	"encoding/json"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Template runs the unchanged template of an SDK in the host. The templates of all SDKs must do the
// same.
func Template(t *testing.T, file string) {
	t.Helper()
	chain, logs := Load(t, plugins.Spec{
		Path: file, Config: json.RawMessage(`{"open":["lobby-","help"],"badge":"guest"}`),
	})
	for channel, want := range map[string]plugins.Kind{
		"lobby-1": plugins.Anonymous, "help": plugins.Anonymous, "team-1": plugins.NoOpinion,
	} {
		got, err := chain.Classify(host, channel, plugins.Authenticated)
		if err != nil || got != (plugins.Decision{Kind: want}) {
			t.Errorf("classify %s: got %+v, %v; want %v; log %v", channel, got, err, want, logs.All())
		}
	}
	shown, err := chain.Show(plugins.EndpointLive, host, []string{"badge"}, []plugins.User{{ID: "1", Email: "ann@example.com"}})
	if err != nil || len(shown) != 1 || shown[0].Record != `{"id":"1","badge":"guest"}` {
		t.Errorf("members for browsers: got %+v, %v; log %v", shown, err, logs.All())
	}
	got, err := List(t, chain, plugins.User{ID: "1", Email: "ann@example.com"})
	const want = `{"id":"1","email":"ann@example.com","badge":"guest"}`
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("members: got %q, %v; want %s", got, err, want)
	}
}
