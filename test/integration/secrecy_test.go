package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// No log line, even at the lowest level, and no answer contains a key, a token or an e-mail
// address.
func TestNoSecretIsLoggedOrAnswered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.log")
	good := token(t, "USER_1", "private@example.com", time.Hour)
	bad := token(t, "USER_1", "private@example.com", -time.Hour)
	forged := good[:len(good)-6] + "AAAAAA"
	secrets := map[string]string{
		"the key": "BFAPI_integration", "the wrong key": "BFAPI_guessed", "the secret": secret,
		"the token": good, "the expired token": bad, "the forged token": forged,
		"the signature": good[strings.LastIndex(good, ".")+1:], "the e-mail address": "private@example.com",
	}
	load(t, caddyfile("debug\n log {\n output file "+path+"\n level DEBUG\n }\n",
		"http://portal.example.com:9080 {\n log {\n output file "+path+".access\n"+
			// Caddy keeps Authorization and cookies out of access logs by default, and this header
			// if configured.
			"format filter {\n wrap json\n request>headers>X-Api-Key delete\n }\n }\n rollcall {\n api_key "+apiKey+
			"\n "+jwtOptions+"\n }\n}\n"))

	var answers []string
	for _, key := range []string{apiKey, "BFAPI_guessed"} {
		for _, a := range []ws.Answer{
			portalHost.Request(t, "POST", "/message/users", `{"apiKey":"`+key+`","channel":7}`),
			portalHost.Request(t, "POST", "/message/users", `{"apiKey":"`+key+`"`),
			portalHost.Request(t, "POST", "/message/users", ``, "X-Api-Key", key),
			portalHost.Request(t, "GET", "/message/users", ``, "X-Api-Key", key),
			portalHost.Request(t, "POST", "/message/allusers", `{"apiKey":"`+key+`"}`, "Authorization", "Bearer "+good),
		} {
			answers = append(answers, a.Body)
		}
	}
	for _, raw := range []string{bad, forged} {
		expectStatus(t, withHeader(portalHost, "Authorization", "Bearer "+raw), 401)
		expectUser(t, portalHost.Dial(t, "Cookie", "rollcall_token="+raw), nil)
		c := portalHost.Dial(t)
		c.Send(t, `{"type":"authenticate","token":"`+raw+`"}`)
		answers = append(answers, c.Next(t))
	}
	c := portalHost.Dial(t, "Authorization", "Bearer "+good)
	c.Send(t, `{"type":"nonsense","token":"`+good+`"}`)
	answers = append(answers, c.Next(t))
	c.Close(t)
	reload(t, portal(jwtOptions)) // closes the log, which flushes it

	for what, text := range secrets {
		for _, answer := range answers {
			if strings.Contains(answer, text) {
				t.Errorf("an answer holds %s: %s", what, answer)
			}
		}
		for _, name := range []string{path, path + ".access"} {
			log, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(log) == 0 {
				t.Errorf("%s is empty", name)
			}
			for line := range strings.Lines(string(log)) {
				if strings.Contains(line, text) {
					t.Errorf("%s holds %s: %s", filepath.Base(name), what, line)
				}
			}
		}
	}
}
