//go:build !race

package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests do not run under the race detector either, see goguest_test.go: each compiles guests,
// and no two calls run at once.

// digestOf calls the hooks of a plugin for several hosts and returns a digest of what it said, and
// a part of that.
func digestOf(t *testing.T, p *Plugin) string {
	t.Helper()
	c := NewChain(p)
	digest := sha256.New()
	first := ""
	note := func(what any, err error) {
		if err != nil {
			t.Error(err)
		}
		line := fmt.Sprintf("%+v\n", what)
		if first == "" {
			first = line
		}
		digest.Write([]byte(line))
	}
	const body = `{"room":[{"id":"ada","email":"ada@acme.test","user":"ada"},{"id":"sam","email":"sam@staff.example"}]}`
	for i := range 120 {
		host := fmt.Sprintf("host%d.example.com", i%3)
		for _, channel := range []string{"lobby-1", "vip-secret", "x-closed", "big-webinar", strings.Repeat("long-", i%40)} {
			d, err := c.Classify(host, channel, Authenticated)
			note(d, err)
			ok, err := c.Authorize(host, channel, Authenticated, &User{ID: "ada", Email: "ada@staff.example"})
			note(ok, err)
		}
		note(collect(c.Members(t.Context(), EndpointUsers, host, nil, users(i, func(n int) string { return fmt.Sprint("u", n) }))))
		shaped, err := c.Shape(t.Context(), EndpointUsers, host, []byte(`{}`), []byte(body))
		note(string(shaped), err)

		claims := fmt.Sprintf(`{"role":%q}`, []string{"host", "guest"}[i%2])
		connected, err := c.Connect(host, Login{ID: "C0", User: &User{ID: "ada"}, Claims: claims})
		note(connected, err)
		for _, channel := range []string{"townhall", "lobby"} {
			sent, err := c.Message(host, channel, Authenticated, Sender{User: &User{ID: "ada"}, Connection: "C0"}, []byte(`{"text":"hello"}`), 1000)
			if errors.Is(err, ErrRefused) {
				sent, err = []byte("refused"), nil
			}
			note(string(sent), err)
		}
	}
	return first + hex.EncodeToString(digest.Sum(nil))
}

func TestExamplesAnswerTheSameWithAnImage(t *testing.T) {
	files, err := filepath.Glob("../examples/*/*.wasm")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	configs := map[string]string{
		"roles":        `{"opens":{"host":"stage-*"}}`,
		"word-filter":  `{"mask":"heck"}`,
		"quiet-room":   `{"rooms":["townhall"]}`,
		"mask-email":   `{"keep":"1","except":"example.org"}`,
		"hidden-staff": `{"domains":"staff.example","ids":"admin","mark":true}`,
		"naming-rules": `{"denied":"*-closed","authenticated":["vip-*","staff-*"],"anonymous":"lobby-*","hidden":"*-secret*","count_only":"*-webinar"}`,
		"team-totals":  `{"team_from":"email","other":"guests","teams":{"acme":["acme.test"]}}`,
	}
	limits := Limits{
		Instances: 1, InitBudget: maxBudget, ClassifyBudget: maxBudget, MembersBudget: maxBudget, ShapeBudget: maxBudget,
		ClassifyTimeout: time.Minute, ShapeTimeout: time.Minute, MessageTimeout: time.Minute,
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".wasm")
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(e *Engine) string {
				p := load(t, e, Spec{
					Path: file, Config: json.RawMessage(configs[name]), Limits: limits,
					CheckGrants: func([]byte) error { return nil },
				})
				if err := p.Try(t.Context(), "host0.example.com"); err != nil {
					if configs[name] != "" {
						t.Error(err)
					}
					return err.Error() // it needs a configuration: the same is said about that
				}
				return digestOf(t, p)
			})
		})
	}
}

func TestAGoGuestHasAnImage(t *testing.T) {
	file, err := filepath.Abs("../examples/mask-email/mask-email.wasm")
	if err != nil {
		t.Fatal(err)
	}
	charged := func(e *Engine) (image, memory int64) {
		p := load(t, e, Spec{Path: file, Limits: Limits{Instances: 1}})
		for i := range 3 {
			if err := p.Try(t.Context(), fmt.Sprint("h", i)); err != nil {
				t.Fatal(err)
			}
		}
		r := e.Report()[0]
		for _, h := range r.Hosts {
			memory += h.Memory
		}
		return r.Image, memory
	}
	image, with := charged(newEngine(t, EngineConfig{}))
	none, without := charged(newEngine(t, EngineConfig{WithoutImages: true}))
	_, err = os.Stat("/proc/self/pagemap")
	linux := err == nil
	if none != 0 || linux != (image > 0) || linux != (with*2 < without) {
		t.Errorf("image %d and %d bytes, without %d and %d", image, with, none, without)
	}
	t.Logf("3 hosts: image %d and %d bytes, without %d", image, with, without)
}
