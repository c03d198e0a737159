package e2e

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Each pod shows what the plugins of the pod with the user's connection make of the user.
func TestPodsShowWhatPluginsMakeOfUsers(t *testing.T) {
	folder, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	d := deploy(t, podNames(1, "us-east-1", "eu-west-1"), "plugin "+folder+"/mask-email/mask-email.wasm\n"+
		"plugin "+folder+"/hidden-staff/hidden-staff.wasm {\nconfig {\nids boss\nmark\n}\n}\n")
	dial := func(p *pod, user string) *ws.Client {
		c := p.site.Dial(t, "Authorization", "Bearer "+token(t, *userOf(user)))
		c.Send(t, `{"type":"join","channel":"team","presence":"list"}`)
		return c
	}
	watcher := dial(d[1], "watcher")
	boss := dial(d[0], "boss")
	// reads reads frames until one has the text, or the end. None may have an address that is not
	// masked, or the key staff, which the site does not show.
	reads := func(text, end string) bool {
		t.Helper()
		for {
			frame := watcher.Next(t)
			if strings.Contains(frame, userOf("boss").Email) || strings.Contains(frame, "staff") {
				t.Fatalf("a frame has too much: %s", frame)
			}
			if strings.Contains(frame, text) {
				return true
			}
			if end != "" && strings.Contains(frame, end) {
				return false
			}
		}
	}
	masked := `{"id":"boss","email":"b***` + userOf("boss").Email[strings.Index(userOf("boss").Email, "@"):] + `"`
	reads(masked+`}`, "")
	// Messages are lost until each pod knows that the other one has users of the host.
	ws.Poll(t, ws.Patience, func() error {
		boss.Send(t, `{"type":"send","channels":["team"],"message":{"n":1}}`)
		watcher.Send(t, `{"type":"ping"}`)
		if !reads(`"from":`+masked+`}`, `"pong"`) {
			return errors.New("no message of the other pod")
		}
		return nil
	})
	boss.Send(t, `{"type":"leave","channel":"team"}`)
	reads(`"left":[`+masked+`}]`, "")
}
