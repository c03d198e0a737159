package e2e

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Each pod shows what the plugins of the pod with the user's connection make of the user.
func TestPodsShowWhatPluginsMakeOfUsers(t *testing.T) {
	t.Parallel()
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

// The pod that takes a message asks the plugins about it, and no other pod does: the plugin
// replaces the message by one that it would refuse.
func TestOnePodAsksAboutAMessage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gate.wasm")
	wat.Compile(t, file, wat.Edited(t, "../../caddymodule/testdata/plugins/gate.wat"))
	d := deploy(t, podNames(1, "us-east-1", "eu-west-1"), "plugin "+file+" {\nmessage_timeout 30s\n}\n")
	sender, watcher := d[0].site.Dial(t), d[1].site.Dial(t)
	sender.Join(t, "anonymous-team")
	watcher.Join(t, "anonymous-team")
	for _, step := range []struct {
		from string // part of the frame
		send func()
	}{
		{`"from":null,"message"`, func() {
			sender.Ask(t, `{"type":"send","channels":["anonymous-team"],"echo":false,"message":{"x":"s"}}`, `{"type":"sent"}`)
		}},
		{`"backend":true`, func() {
			a := d[0].site.Request(t, http.MethodPost, "/message/sendmessage", `{"channels":["anonymous-team"],"except":"`+sender.Welcome.Connection+`","message":{"x":"s"}}`,
				"Content-Type", "application/json", "X-Api-Key", d[0].site.Key)
			if a.Status != http.StatusCreated {
				t.Fatalf("status %d: %s", a.Status, a.Body)
			}
		}},
	} {
		ws.Poll(t, ws.Patience, func() error { // lost until each pod knows that the other one has the host
			step.send()
			watcher.Send(t, `{"type":"ping"}`)
			for arrived := false; ; {
				frame := watcher.Next(t)
				switch {
				case !strings.Contains(frame, `"pong"`) && !strings.HasSuffix(frame, `"message":{"x":"replaced"}}`):
					t.Fatalf("got %s", frame)
				case !strings.Contains(frame, `"pong"`):
					arrived = arrived || strings.Contains(frame, step.from)
				case arrived:
					return nil
				default:
					return errors.New("no message with " + step.from)
				}
			}
		})
	}
	sender.Send(t, `{"type":"send","channels":["anonymous-team"],"message":{"x":"replaced"}}`)
	sender.ExpectError(t, "", "denied")
}
