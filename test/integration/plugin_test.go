package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/wat"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// guest compiles a plugin, after replacing texts in pairs.
func guest(t testing.TB, name string, edits ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".wasm")
	wat.Compile(t, file, wat.Edited(t, "../../caddymodule/testdata/plugins/"+name+".wat", edits...))
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// install puts a plugin into a folder of the test and returns its path.
func install(t testing.TB, name string, module []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".wasm")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pluginOption is the option of a plugin, with enough time for a busy machine.
func pluginOption(path, options string) string {
	return "plugin " + path + " {\n classify_timeout 30s\n shape_timeout 30s\n " + options + "\n }\n"
}

func otherSiteWith(options string) string {
	return strings.Replace(otherSite, "api_key", options+"\n api_key", 1)
}

// The letters that the guest "rules" decides by.
const (
	openLetter   = "(i32.const 0x6f)) ;; o"
	hiddenLetter = "(i32.const 0x68)"
	letterS      = "(i32.const 0x73)"
)

func TestTwoHostsWithDifferentPlugins(t *testing.T) {
	load(t, portal(jwtOptions+pluginOption(install(t, "rules", guest(t, "rules")), "")+
		pluginOption(install(t, "counts", guest(t, "shape")), "instances 1"))+
		otherSiteWith(jwtOptions+pluginOption(install(t, "other", guest(t, "rules", hiddenLetter, letterS)), "")+
			pluginOption(install(t, "counts", guest(t, "shape")), "instances 1")+
			pluginOption(install(t, "mask", guest(t, "mask")), "")))
	for i, host := range []ws.Site{portalHost, otherHost} {
		host.Shaped = true
		user := host.Dial(t, login(t, "USER_1", "a@example.com")...)
		user.Join(t, "hall")
		user.Join(t, "stage")
		channel, who := []string{"stage", "hall"}[i], []string{user1, `{"id":"USER_1","email":"*************"}`}[i]
		for n := 1; n <= 3; n++ { // each host has a counter of its own
			host.Expect(t, "users", `{"channel":"`+channel+`"}`,
				fmt.Sprintf(`{"call":%d,"request":{"channel":%q},"answer":{%q:[%s]}}`, n, channel, channel, who))
		}
	}
	report := admin(t, http.MethodGet, "/rollcall/plugins")
	var plugins []struct {
		Name  string
		Hosts []struct{ Host, Breaker string }
	}
	decode(t, report.Body, &plugins)
	hosts := make(map[string][]string)
	for _, p := range plugins {
		for _, h := range p.Hosts {
			hosts[p.Name] = append(hosts[p.Name], h.Host+" "+h.Breaker)
		}
	}
	if fmt.Sprint(hosts["rules"], hosts["other"], hosts["mask"], len(hosts["counts"])) !=
		"[portal.example.com closed] [other.example.com closed] [other.example.com closed] 2" {
		t.Errorf("reported: %s", report.Body)
	}
}

func TestPluginAnswersOnTheSocket(t *testing.T) {
	path := install(t, "sockets", guest(t, "rules"))
	series := func(hook, result string) string {
		return fmt.Sprintf(`caddy_rollcall_plugin_calls_total{hook=%q,host="portal.example.com",plugin="sockets",result=%q}`, hook, result)
	}
	load(t, portal(jwtOptions+pluginOption(path, "")))
	visitor, user := portalHost.Dial(t), portalHost.Dial(t, login(t, "xavier", "")...)
	failing := portalHost.Dial(t, login(t, "yves", "")...)
	ask := func(c *ws.Client, channel, code string) {
		t.Helper()
		c.Send(t, `{"type":"join","id":1,"channel":"`+channel+`"}`)
		c.ExpectError(t, "1", code)
	}
	visitor.Join(t, "open")
	ask(visitor, "locked", "denied")
	ask(visitor, "hidden", "login_required")
	ask(visitor, "trap", "unavailable")
	ask(visitor, "waits for ever", "unavailable")
	ask(user, "open", "denied")
	ask(failing, "open", "unavailable")
	visitor.ExpectNothing(t)
	for result, least := range map[string]float64{"ok": 3, "trap": 1, "budget": 1} {
		if got := metric(t, series("classify", result)); got < least {
			t.Errorf("%s: %v calls", result, got)
		}
	}
	if metric(t, series("authorize", "trap")) != 1 || metric(t, `caddy_rollcall_plugin_loads_total{plugin="sockets",result="ok"}`) < 1 {
		t.Errorf("metrics:\n%s", scrape(t))
	}
	if n := metric(t, `caddy_rollcall_plugin_steps_count{hook="classify",plugin="sockets"}`); n < 3 {
		t.Errorf("the steps of %v calls were counted", n)
	}

	reload(t, portal(jwtOptions+pluginOption(path, "on_failure pass")))
	visitor.Send(t, `{"type":"join","id":1,"channel":"trap"}`)
	visitor.ExpectError(t, "1", "login_required") // like without the plugin
	failing.Join(t, "open")
}

func TestPluginFailureIsNoAnswer(t *testing.T) {
	load(t, portal(jwtOptions+pluginOption(install(t, "mask", guest(t, "mask")), "")))
	portalHost.Dial(t, login(t, "trapped", "canary@example.com")...)
	a := portalHost.Request(t, http.MethodPost, "/message/users", "", "X-Api-Key", apiKey)
	if a.Status != http.StatusBadGateway || !strings.Contains(a.Body, `"code":"plugin_failed"`) || strings.Contains(a.Body, "canary") {
		t.Errorf("status %d: %s", a.Status, a.Body)
	}
	if a.Header.Get("Content-Type") != "application/problem+json" || a.Header.Get("Rollcall-Complete") != "" {
		t.Errorf("header %v", a.Header)
	}
}

// pluginCrowd connects fifty clients that watch one channel and listen to another.
func pluginCrowd(t *testing.T) *ws.Crowd {
	t.Helper()
	const size = 50
	crowd := ws.Gather(t, size, func(i int) ws.Plan {
		p := ws.Plan{Request: portalHost.Socket(), Joins: []string{
			`{"type":"join","channel":"stage","presence":"list"}`, `{"type":"join","channel":"hall"}`,
		}}
		p.Request.Header = ws.Header("Authorization", "Bearer "+token(t, fmt.Sprintf("USER_%d", i), "", 0))
		return p
	})
	crowd.Settle(t)
	return crowd
}

// expectUnmoved checks that change closes no connection and sends no frame.
func expectUnmoved(t *testing.T, crowd *ws.Crowd, do func()) {
	t.Helper()
	presence, other := crowd.Heard()
	do()
	crowd.Settle(t)
	if p, o := crowd.Heard(); p != presence || o != other || crowd.Open() != len(crowd.Members) {
		t.Errorf("%d presence frames and %d others came, %d of %d connections are open",
			p-presence, o-other, crowd.Open(), len(crowd.Members))
	}
}

// listed reports whether a channel is listed for the backend.
func listed(t *testing.T, channel string) bool {
	t.Helper()
	return portalHost.Answer(t, "users", `{"channel":"`+channel+`"}`) != "{}"
}

func awaitListed(t *testing.T, channel string, want bool) {
	t.Helper()
	ws.Poll(t, ws.Patience, func() error {
		if listed(t, channel) != want {
			return fmt.Errorf("%s is listed: %t", channel, !want)
		}
		return nil
	})
}

func TestReloadReplacesPlugins(t *testing.T) {
	hall, stage := guest(t, "rules"), guest(t, "rules", hiddenLetter, letterS)
	path := install(t, "replaced", hall)
	load(t, portal(jwtOptions+pluginOption(path, "")))
	crowd := pluginCrowd(t)
	visitor := portalHost.Dial(t)
	visitor.Join(t, "open")
	expect := func(hallListed, stageListed bool) {
		t.Helper()
		if listed(t, "hall") != hallListed || listed(t, "stage") != stageListed {
			t.Errorf("hall is listed: %t, stage: %t", listed(t, "hall"), listed(t, "stage"))
		}
	}
	write := func(module []byte) {
		t.Helper()
		if err := os.WriteFile(path, module, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect(false, true)
	t.Run("another file", func(t *testing.T) {
		write(stage)
		expect(false, true) // it is not watched
		expectUnmoved(t, crowd, func() { reload(t, portal(jwtOptions+pluginOption(path, ""))) })
		expect(true, false)
	})
	t.Run("the same file", func(t *testing.T) {
		expectUnmoved(t, crowd, func() { reload(t, portal(jwtOptions+pluginOption(path, ""))) })
		expect(true, false)
	})
	t.Run("a broken file", func(t *testing.T) {
		write(stage[:len(stage)-20])
		expectUnmoved(t, crowd, func() { reloadFails(t, portal(jwtOptions+pluginOption(path, "")), "replaced.wasm") })
		expect(true, false)
	})
	t.Run("a plugin that refuses its configuration", func(t *testing.T) {
		refusing := install(t, "refusing", guest(t, "shape", "(i32.const 0x72)", "(i32.const 0x70)")) // p
		expectUnmoved(t, crowd, func() {
			reloadFails(t, portal(jwtOptions+pluginOption(refusing, "")), "no seats left")
		})
		expect(true, false)
	})
	t.Run("no plugin", func(t *testing.T) {
		expectUnmoved(t, crowd, func() {
			reload(t, portal(jwtOptions))
			visitor.Expect(t, `{"type":"left","channel":"open","reason":"denied"}`)
		})
		expect(true, true)
	})
	t.Run("the first file again", func(t *testing.T) {
		write(hall)
		expectUnmoved(t, crowd, func() { reload(t, portal(jwtOptions+pluginOption(path, ""))) })
		expect(false, true)
		visitor.Join(t, "open")
	})
}

func TestWatchedPluginIsReplaced(t *testing.T) {
	hall, stage := guest(t, "rules"), guest(t, "rules", hiddenLetter, letterS)
	path := install(t, "watched", hall)
	load(t, portal(jwtOptions+pluginOption(path, "watch")))
	crowd := pluginCrowd(t)
	visitor := portalHost.Dial(t)
	visitor.Join(t, "open")
	errorsCounted := func() float64 {
		return max(0, metric(t, `caddy_rollcall_plugin_loads_total{plugin="watched",result="error"}`))
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rename := func(module []byte) {
		t.Helper()
		check(os.WriteFile(path+".new", module, 0o600))
		check(os.Rename(path+".new", path))
	}
	t.Run("written in place", func(t *testing.T) {
		expectUnmoved(t, crowd, func() {
			check(os.WriteFile(path, stage, 0o600))
			awaitListed(t, "stage", false)
			awaitListed(t, "hall", true)
		})
	})
	t.Run("renamed", func(t *testing.T) {
		expectUnmoved(t, crowd, func() {
			rename(hall)
			awaitListed(t, "hall", false)
			awaitListed(t, "stage", true)
		})
	})
	t.Run("broken", func(t *testing.T) {
		before := errorsCounted()
		expectUnmoved(t, crowd, func() {
			rename(stage[:len(stage)-20])
			ws.Poll(t, ws.Patience, func() error {
				if n := errorsCounted(); n != before+1 {
					return fmt.Errorf("%v loads failed, before %v", n, before)
				}
				return nil
			})
		})
		if listed(t, "hall") || !listed(t, "stage") {
			t.Error("the plugin before is gone")
		}
		visitor.ExpectNothing(t)
		portalHost.Dial(t).Join(t, "open too")
	})
	t.Run("deleted and back", func(t *testing.T) {
		before := errorsCounted()
		expectUnmoved(t, crowd, func() {
			check(os.Remove(path))
			ws.Poll(t, ws.Patience, func() error {
				if n := errorsCounted(); n != before+1 {
					return fmt.Errorf("%v loads failed, before %v", n, before)
				}
				return nil
			})
			if listed(t, "hall") || !listed(t, "stage") {
				t.Error("the plugin before is gone")
			}
			check(os.WriteFile(path, stage, 0o600))
			awaitListed(t, "stage", false)
		})
	})
	t.Run("a listener that is no longer allowed leaves", func(t *testing.T) {
		expectUnmoved(t, crowd, func() {
			rename(guest(t, "rules", openLetter, "(i32.const 0x6e)) ;; n"))
			visitor.Expect(t, `{"type":"left","channel":"open","reason":"denied"}`)
		})
	})
	t.Run("other hooks", func(t *testing.T) {
		shaped := portalHost
		shaped.Shaped = true
		expectUnmoved(t, crowd, func() {
			rename(guest(t, "shape"))
			ws.Poll(t, ws.Patience, func() error {
				if a := shaped.Answer(t, "users", `{"channel":"none"}`); !strings.Contains(a, `"answer":{}`) {
					return errors.New(a)
				}
				return nil
			})
		})
		if !strings.Contains(shaped.Answer(t, "users", `{"channel":"hall"}`), "USER_1") {
			t.Error("the hall is hidden")
		}
	})
	t.Run("after a reload", func(t *testing.T) {
		expectUnmoved(t, crowd, func() {
			rename(hall)
			reload(t, portal(jwtOptions+pluginOption(path, "watch")+"ping 20s 30s\n"))
			awaitListed(t, "hall", false)
			rename(stage)
			awaitListed(t, "stage", false)
		})
	})
}

// Plugins are replaced one after another during joins and requests, none of which fails.
func TestNoCallFailsWhilePluginsAreReplaced(t *testing.T) {
	modules := [][]byte{
		guest(t, "rules"), guest(t, "rules", "(i32.const 0x77)", "(i32.const 0x78)"), // differs only in a letter that no channel has
	}
	path := install(t, "swapped", modules[0])
	text := portal(jwtOptions + "limits {\n frames_per_second 1000000\n }\n" + pluginOption(path, "") + pluginOption(install(t, "mask", guest(t, "mask")), "watch"))
	load(t, text)
	crowd := pluginCrowd(t)
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer close(done)
		for i := range 10 {
			if err := os.WriteFile(path, modules[i%2], 0o600); err != nil {
				t.Error(err)
				return
			}
			if status, body, err := post(text); err != nil || status != http.StatusOK {
				t.Errorf("reload: status %d: %s (%v)", status, body, err)
				return
			}
		}
	})
	visitor := portalHost.Dial(t)
	expectUnmoved(t, crowd, func() {
		for busy := true; busy; {
			visitor.Join(t, "openHouse")
			visitor.Ask(t, `{"type":"leave","channel":"openHouse"}`, `{"type":"left","channel":"openHouse"}`)
			if got := portalHost.Answer(t, "users", `{"channel":"stage"}`); !strings.Contains(got, `{"id":"USER_7","email":""}`) {
				t.Errorf("got %s", got)
			}
			select {
			case <-done:
				busy = false
			default:
			}
		}
	})
}
