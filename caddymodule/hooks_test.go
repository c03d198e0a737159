package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/internal/wat"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// assemble compiles a guest of testdata/plugins, after replacing texts in it, pair by pair, and
// returns the file.
func assemble(t testing.TB, name string, edits ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".wasm")
	wat.Compile(t, file, wat.Edited(t, "testdata/plugins/"+name+".wat", edits...))
	return file
}

// pluginSite is a site with the options, whose endpoints are open. Compiled code is kept in a
// folder of the test.
func pluginSite(t testing.TB, host, options string) string {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	return "http://" + host + " {\n\trollcall {\n\t\tapi_key off\n" + options + "\n\t}\n}\n"
}

func loadPlugins(t testing.TB, options string) *Handler {
	t.Helper()
	return mustLoad(t, pluginSite(t, "portal.example.com, http://other.example.com", options)).handler(t)
}

// slow gives a plugin the time that a busy machine needs.
const slow = "classify_timeout 30s\nshape_timeout 30s\n"

func plugin(file, options string) string { return "plugin " + file + " {\n" + slow + options + "\n}\n" }

func TestPluginDecidesWhatAChannelIs(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "rules"), ""))
	visitor, user := arrive(t, h, "portal.example.com", "", ""), arrive(t, h, "portal.example.com", "USER_1", "a@example.com")
	for _, test := range []struct {
		channel             string
		byVisitor, byMember error
	}{
		{"openHouse", nil, nil},
		{"locked", presence.ErrDenied, presence.ErrDenied},
		{"hidden", presence.ErrLoginRequired, nil},
		{"counted", presence.ErrLoginRequired, nil},
		{"anonymousChat", nil, nil},
		{"salesRoom", presence.ErrLoginRequired, nil},
		{"trap", presence.ErrUnavailable, presence.ErrUnavailable},
	} {
		if err := visitor.Join(test.channel, presence.WatchNone, ""); !errors.Is(err, test.byVisitor) {
			t.Errorf("%s: the visitor got %v, want %v", test.channel, err, test.byVisitor)
		}
		if err := user.Join(test.channel, presence.WatchNone, ""); !errors.Is(err, test.byMember) {
			t.Errorf("%s: the user got %v, want %v", test.channel, err, test.byMember)
		}
	}
	const me = `{"id":"USER_1","email":"a@example.com"}`
	want := fmt.Sprintf(`{"anonymousChat":2,"counted":1,"openHouse":2,"salesRoom":[%s],%q:1,%q:%s}`, me,
		visitor.ID().PrivateChannel(), user.ID().PrivateChannel(), me)
	if got := post(t, h, "/message/users", "").Body.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for channel, want := range map[string]string{"hidden": `{}`, "counted": `{"counted":1}`} {
		if got := post(t, h, "/message/users", `{"channel":"`+channel+`"}`).Body.String(); got != want {
			t.Errorf("%s: got %s, want %s", channel, got, want)
		}
	}
}

func TestPluginDecidesWhoMayJoin(t *testing.T) {
	for _, test := range []struct {
		name, policy, id string
		want             error
	}{
		{"no objection", "deny", "USER_1", nil},
		{"nobody", "deny", "", nil},
		{"an objection", "deny", "x", presence.ErrDenied},
		{"an objection counts under any policy", "pass", "x", presence.ErrDenied},
		{"a failure denies", "deny", "y", presence.ErrUnavailable},
		{"a failure passes if it is to", "pass", "y", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadPlugins(t, plugin(assemble(t, "rules"), "on_failure "+test.policy))
			err := arrive(t, h, "portal.example.com", test.id, "").Join("open", presence.WatchNone, "")
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestPluginsDecideInOrder(t *testing.T) {
	first := assemble(t, "rules")
	second := assemble(t, "rules", "0x6f)) ;; o", "0x6c)) ;; l")
	for _, test := range []struct {
		name, options string
		want          error // error of a join to locked
	}{
		{"the first opinion", plugin(first, "") + plugin(second, ""), presence.ErrDenied},
		{"the other order", plugin(second, "") + plugin(first, ""), nil},
		{"the second if the first fails and passes", plugin(assemble(t, "trap"), "on_failure pass") + plugin(second, ""), nil},
		{"a failure denies whatever follows", plugin(assemble(t, "trap"), "") + plugin(second, ""), presence.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadPlugins(t, test.options)
			err := arrive(t, h, "portal.example.com", "", "").Join("locked", presence.WatchNone, "")
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestPluginDecidesWhatIsShownOfUsers(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "mask"), ""))
	const host = "portal.example.com"
	a := arrive(t, h, host, "a", "a@x", "room", "other", "anonymous1")
	staff := arrive(t, h, host, "staff", "s@x", "room", "back")
	again := arrive(t, h, host, "a", "a@x", "room")
	nobody := arrive(t, h, host, "", "", "anonymous1")
	private := func(c *presence.Conn) string { return `"` + c.ID().PrivateChannel() + `"` }
	const shown = `{"id":"a","email":"***"}`

	for _, test := range []struct{ path, body, want string }{
		{
			"users", "", `{"anonymous1":2,"back":[],"other":[` + shown + `],"room":[` + shown + `],` +
				private(a) + `:` + shown + `,` + private(again) + `:` + shown + `,` + private(nobody) + `:1}`,
		},
		{
			"users", `{"dedupeUsers":false}`,
			`{"anonymous1":2,"back":[],"other":[` + shown + `],"room":[` + shown + `,` + shown + `],` +
				private(a) + `:` + shown + `,` + private(again) + `:` + shown + `,` + private(nobody) + `:1}`,
		},
		{"users", `{"channel":"back"}`, `{"back":[]}`},
		{"users", `{"channel":"anonymous1"}`, `{"anonymous1":2}`},
		{"users", `{"channel":"nowhere"}`, `{}`},
		{"users", `{"channel":` + private(staff) + `}`, `{}`},
		{"users", `{"channel":` + private(a) + `}`, `{` + private(a) + `:` + shown + `}`},
		{"allusers", `{"includeUsers":true}`, `{"local":{"authenticated":[` + shown + `],"authenticatedCount":1,"anonymous":1},"_total":{"authenticated":1,"anonymous":1}}`},
		{"allusers", `{"includeUsers":true,"dedupeUsers":false}`, `{"local":{"authenticated":[` + shown + `,` + shown + `],"authenticatedCount":2,"anonymous":1},"_total":{"authenticated":2,"anonymous":1}}`},
		{"allusers", "", `{"local":{"authenticated":2,"anonymous":1},"_total":{"authenticated":2,"anonymous":1}}`},
	} {
		w := post(t, h, "/message/"+test.path, test.body)
		if got := w.Body.String(); w.Code != http.StatusOK || got != test.want {
			t.Errorf("%s %s: %d\ngot  %s\nwant %s", test.path, test.body, w.Code, got, test.want)
		}
	}
	staff.Close()
	nobody.Close()
	a.Close()
	again.Close()
	for path, want := range map[string]string{
		"users": `{}`,
	} {
		if got := post(t, h, "/message/"+path, "").Body.String(); got != want {
			t.Errorf("an empty host: %s: got %s, want %s", path, got, want)
		}
	}
	if got := post(t, h, "/message/allusers", `{"includeUsers":true}`).Body.String(); got !=
		`{"local":{"authenticated":[],"authenticatedCount":0,"anonymous":0},"_total":{"authenticated":0,"anonymous":0}}` {
		t.Errorf("an empty host: got %s", got)
	}
}

// A listing of many batches is complete and in order.
func TestPluginShowsLongListings(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "mask"), ""))
	var want []string
	for i := range 1000 {
		id := fmt.Sprintf("u%04d", i)
		if i%7 == 0 {
			id = "s" + id
		} else {
			want = append(want, `{"id":"`+id+`","email":"`+strings.Repeat("*", 300)+`"}`)
		}
		arrive(t, h, "portal.example.com", id, strings.Repeat("e", 300), "room")
	}
	got := post(t, h, "/message/users", `{"channel":"room"}`).Body.String()
	if got != `{"room":[`+strings.Join(want, ",")+`]}` {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestPluginShapesAnswers(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "shape"), "instances 1"))
	arrive(t, h, "portal.example.com", "", "", "anonymous1")
	for i, test := range []struct{ path, body, want string }{
		{"users", `{"apiKey":"secret","channel":"anonymous1","x":[1, 2]}`, `{"call":1,"request":{"channel":"anonymous1","x":[1,2]},"answer":{"anonymous1":1}}`},
		{"users", `{"APIKEY":"secret","channel":"anonymous1"}`, `{"call":2,"request":{"channel":"anonymous1"},"answer":{"anonymous1":1}}`},
		{"allusers", "", `{"call":3,"request":{},"answer":{"local":{"authenticated":0,"anonymous":1},"_total":{"authenticated":0,"anonymous":1}}}`},
	} {
		w := post(t, h, "/message/"+test.path, test.body)
		if got := w.Body.String(); w.Code != http.StatusOK || got != test.want {
			t.Errorf("%d: %d\ngot  %s\nwant %s", i, w.Code, got, test.want)
		}
		if w.Header().Get("Content-Length") != fmt.Sprint(len(test.want)) {
			t.Errorf("%d: Content-Length %s", i, w.Header().Get("Content-Length"))
		}
	}
	// This host has no connections, and an instance of its own.
	w := serve(t, h, httptest.NewRequest(http.MethodPost, "http://other.example.com/message/users", http.NoBody))
	if got := w.Body.String(); got != `{"call":1,"request":{},"answer":{}}` {
		t.Errorf("another host: got %s", got)
	}
}

func TestPluginsAreChained(t *testing.T) {
	h := loadPlugins(t, plugin(assemble(t, "mask"), "")+
		plugin(assemble(t, "mask", "(i32.const 0x2a)", "(i32.const 0x2d)", "0x73)", "0x61)"), "name dashes")+
		plugin(assemble(t, "shape"), ""))
	arrive(t, h, "portal.example.com", "a", "1@x", "room") // hidden by the second
	arrive(t, h, "portal.example.com", "b", "22@x", "room")
	arrive(t, h, "portal.example.com", "s", "3@x", "room") // hidden by the first
	const want = `{"call":1,"request":{"channel":"room"},"answer":{"room":[{"id":"b","email":"----"}]}}`
	if got := post(t, h, "/message/users", `{"channel":"room"}`).Body.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPluginFailureWithholdsTheAnswer(t *testing.T) {
	trap, mask := assemble(t, "trap"), assemble(t, "mask")
	for _, test := range []struct{ name, options, user, path, body string }{
		{"members", plugin(mask, ""), "trapped", "users", ""},
		{"members of one channel", plugin(mask, ""), "trapped", "users", `{"channel":"room"}`},
		{"members of all", plugin(mask, ""), "trapped", "allusers", `{"includeUsers":true}`},
		{"shape", plugin(trap, "on_failure pass") + plugin(trap, ""), "", "users", ""},
		{"shape of all", plugin(trap, ""), "", "allusers", ""},
		{"one failed before another", plugin(mask, "") + plugin(assemble(t, "shape"), ""), "trapped", "users", ""},
		{"answer too long for shape", plugin(assemble(t, "shape"), "document 64B"), "canary", "users", `{"channel":"room"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadPlugins(t, test.options)
			const host = "portal.example.com"
			for _, id := range []string{"first-canary", test.user, "last-canary"} {
				conn, err := h.app.hub.Registry.Connect(testkit.MustHost(t, host), &presence.Rules{}, userOrNobody(id), sink{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(conn.Close)
				if id != "" {
					if err := conn.Join("room", presence.WatchNone, ""); err != nil {
						t.Fatal(err)
					}
				}
			}
			w := post(t, h, "/message/"+test.path, test.body)
			if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), `"code":"plugin_failed"`) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			for _, secret := range []string{"canary", "trap", "wasm", "mask", "unreachable"} {
				if strings.Contains(w.Body.String(), secret) {
					t.Errorf("the answer has %q: %s", secret, w.Body)
				}
			}
		})
	}
}

func userOrNobody(id string) *presence.User {
	if id == "" {
		return nil
	}
	return &presence.User{ID: id, Email: id + "@canary.example"}
}

func TestPluginFailurePassesIfItIsTo(t *testing.T) {
	trap := plugin(assemble(t, "trap"), "on_failure pass")
	h := loadPlugins(t, trap+plugin(assemble(t, "mask"), "")+strings.Replace(trap, "{", "{\nname again\n", 1))
	arrive(t, h, "portal.example.com", "a", "a@x", "room")
	const shown = `{"id":"a","email":"***"}`
	for _, test := range []struct{ path, body, want string }{
		{"users", `{"channel":"room"}`, `{"room":[` + shown + `]}`},
		{"allusers", `{"includeUsers":true}`, `{"local":{"authenticated":[` + shown + `],"authenticatedCount":1,"anonymous":0},"_total":{"authenticated":1,"anonymous":0}}`},
	} {
		if w := post(t, h, "/message/"+test.path, test.body); w.Body.String() != test.want {
			t.Errorf("%s: %d %s, want %s", test.path, w.Code, w.Body, test.want)
		}
	}
}

func TestPluginThatCannotBeLoadedIsRefused(t *testing.T) {
	good := assemble(t, "rules")
	file := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	module, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, options string
		want          []string
	}{
		{"no file", plugin("/nonexistent/a.wasm", ""), []string{"/nonexistent/a.wasm", "no such file"}},
		{"a folder", plugin(t.TempDir(), ""), []string{"plugin"}},
		{"a text", plugin(file("text.wasm", []byte("hello, world")), ""), []string{"text.wasm"}},
		{"half a module", plugin(file("half.wasm", module[:len(module)/2]), ""), []string{"half.wasm"}},
		{"another hash", plugin(good, "sha256 "+strings.Repeat("00", 32)), []string{"rules.wasm", "SHA-256"}},
		{"too large", plugin(good, "file 100B"), []string{"rules.wasm"}},
		{"bad limit", plugin(good, "memory 1KiB"), []string{"memory"}},
		{"one name twice", plugin(good, "name a") + plugin(good, "name a"), []string{`name "a" belongs to another plugin`}},
		{"no hook", plugin(assemble(t, "trap", `(export "rollcall_classify")`, "", `(export "rollcall_authorize")`, "",
			`(export "rollcall_members")`, "", `(export "rollcall_shape")`, ""), ""), []string{"trap.wasm", "hook"}},
		{"the second of two", plugin(good, "") + plugin("/nonexistent/b.wasm", ""), []string{"/nonexistent/b.wasm"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, pluginSite(t, "portal.example.com", test.options))
			if err == nil {
				t.Fatal("loaded")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q has no %q", err, want)
				}
			}
		})
	}
	if loadedHub() != nil {
		t.Error("a hub is left")
	}
}

func TestPluginThatRefusesItsConfigurationDoesNotStart(t *testing.T) {
	c := mustLoad(t, pluginSite(t, "portal.example.com", plugin(assemble(t, "shape"), ""))+
		pluginSite(t, "refused.example.com", plugin(assemble(t, "shape"), "name seats")))
	err := c.app.Start()
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{"seats", "shape.wasm", "refused.example.com", "no seats left"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q has no %q", err, want)
		}
	}
	if c.app.hub.InEffect() != nil {
		t.Error("the configuration is in effect")
	}
}

func TestPluginsOutliveTheirHandler(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	site := pluginSite(t, "portal.example.com", plugin(assemble(t, "rules"), ""))
	first, second := mustLoad(t, site), mustLoad(t, site)
	if err := second.handler(t).Cleanup(); err != nil {
		t.Fatal(err)
	}
	if err := second.handler(t).Cleanup(); err != nil { // the second time does nothing
		t.Fatal(err)
	}
	if err := arrive(t, first.handler(t), "portal.example.com", "", "").Join("open", presence.WatchNone, ""); err != nil {
		t.Error(err)
	}
	// Running requests continue.
	if err := arrive(t, second.handler(t), "other.example.com", "", "").Join("open", presence.WatchNone, ""); err != nil {
		t.Error(err)
	}
}

func TestCompiledPluginsAreKeptInTheDataFolder(t *testing.T) {
	site := pluginSite(t, "portal.example.com", plugin(assemble(t, "rules"), ""))
	mustLoad(t, site)
	folder := filepath.Join(os.Getenv("XDG_DATA_HOME"), "caddy", "rollcall", "wasm")
	info, err := os.Stat(folder)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info, err)
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) == 0 {
		t.Errorf("%d files, error %v", len(files), err)
	}
}

func TestPluginsRunWithoutAFolder(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(folder string) error
	}{
		{"a file is in the way", func(folder string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(folder), 0o700), os.WriteFile(folder, nil, 0o600))
		}},
		{"it is open to others", func(folder string) error {
			return errors.Join(os.MkdirAll(folder, 0o700), os.Chmod(folder, 0o755))
		}},
		{"it leads elsewhere", func(folder string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(folder), 0o700), os.Symlink(os.TempDir(), folder))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			site := pluginSite(t, "portal.example.com", plugin(assemble(t, "rules"), ""))
			folder := filepath.Join(os.Getenv("XDG_DATA_HOME"), "caddy", "rollcall", "wasm")
			if err := test.make(folder); err != nil {
				t.Fatal(err)
			}
			if _, err := plugins.NewEngine(plugins.EngineConfig{CacheDir: folder}); err == nil {
				t.Error("the folder is taken")
			}
			h := mustLoad(t, site).handler(t)
			if err := arrive(t, h, "portal.example.com", "", "").Join("open", presence.WatchNone, ""); err != nil {
				t.Error(err)
			}
		})
	}
}
