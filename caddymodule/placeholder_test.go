package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// textOptions returns the JSON of each text option of a type, as a path of names. A list is one
// with a text.
func textOptions(of reflect.Type) (paths [][]string) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		field := f.Type
		if field.Kind() == reflect.Slice && field.Elem().Kind() != reflect.Uint8 {
			name, field = name+"[]", field.Elem()
		}
		for field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if field.Kind() == reflect.String {
			paths = append(paths, []string{name})
		}
		if field.Kind() == reflect.Struct {
			for _, inner := range textOptions(field) {
				paths = append(paths, append([]string{name}, inner...))
			}
		}
	}
	return paths
}

// withOption returns an object with an option, and with the other options that its block needs.
func withOption(path []string, text string, needs map[string]map[string]any) map[string]any {
	object := make(map[string]any)
	name, isList := strings.CutSuffix(path[0], "[]")
	var value any = text
	if len(path) > 1 {
		inner := withOption(path[1:], text, needs)
		for k, v := range needs[name] {
			if inner[k] == nil {
				inner[k] = v
			}
		}
		value = inner
	}
	if isList {
		value = []any{value}
	}
	object[name] = value
	return object
}

// An empty placeholder would switch a check off, or be a value that others know.
func TestPlaceholdersThatComeToNothing(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, module := range []struct {
		id    string
		of    any
		least int
		needs map[string]map[string]any
	}{
		{"http.handlers.rollcall", Handler{}, 18, map[string]map[string]any{
			"jwt":       {"key": strings.Repeat("k", 32)},
			"authorize": {"url": "https://app.example.com", "secret": []string{strings.Repeat("s", 32)}},
			"backend":   {"url": "https://app.example.com", "secret": []string{strings.Repeat("s", 32)}},
			"events":    {"url": "https://app.example.com", "secret": []string{strings.Repeat("s", 32)}},
			"plugins":   {"path": "my-rules.wasm"},
			"pusher":    {"apps": []any{map[string]any{"id": "1", "key": "k", "secret": strings.Repeat("s", 32)}}},
			"apps":      {"id": "1", "key": "k", "secret": strings.Repeat("s", 32)},
		}},
		{"rollcall", App{}, 11, map[string]map[string]any{
			"cluster": {"listen": "127.0.0.1:6222", "secret": strings.Repeat("s", 32)},
		}},
	} {
		options := slices.DeleteFunc(textOptions(reflect.TypeOf(module.of)), func(path []string) bool {
			return path[0] == "user" // replaced at each request
		})
		if len(options) < module.least {
			t.Fatalf("only %d options found: %q", len(options), options)
		}
		for _, path := range options {
			for text, want := range map[string]string{
				"{env.ROLLCALL_NO_SUCH}":              "{env.ROLLCALL_NO_SUCH}",
				"live-{env.ROLLCALL_NO_SUCH}":         "{env.ROLLCALL_NO_SUCH}",
				"{file./no/such/file}":                "{file./no/such/file}",
				"a{file." + empty + "}b":              "{file." + empty + "}",
				"{http.request.uri}":                  "",
				"{evn.ROLLCALL_NO_SUCH}":              "",
				"{args[0]}":                           "",
				strings.Repeat("{", 200) + "unclosed": "",
			} {
				t.Run(module.id+" "+strings.Join(path, ".")+" "+strings.Trim(text, "{"), func(t *testing.T) {
					config, err := json.Marshal(withOption(path, text, module.needs))
					if err != nil {
						t.Fatal(err)
					}
					if _, err = newContext(t, "{\n}", "").LoadModuleByID(module.id, config); err == nil {
						t.Fatalf("%s loads", config)
					}
					option := strings.TrimSuffix(path[len(path)-1], "[]")
					if option == "url" {
						option = "the URL"
					}
					if !strings.Contains(err.Error(), option) || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: the error is %q, without the option or %q", config, err, want)
					}
				})
			}
		}
	}
}

func TestPlaceholdersOfSecretsAreNotShown(t *testing.T) {
	for _, text := range []string{"pa{ss}word", "{evn.canary}", "a{canary}", "canary" + strings.Repeat("{", 200)} {
		if _, err := resolveSecret("api_key", text); err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "ss}") {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

// Placeholders with a value are replaced.
func TestPlaceholdersAreReplaced(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_NAME", "lobby")
	t.Setenv("ROLLCALL_TEST_ORIGIN", "https://app.example.com")
	h := loadHandler(t, `
		prefix /{env.ROLLCALL_TEST_NAME}
		origins {env.ROLLCALL_TEST_ORIGIN}
		jwt {
			key 0123456789abcdef0123456789abcdef
			cookie my-{env.ROLLCALL_TEST_NAME}
			audience {env.ROLLCALL_TEST_NAME}
			id_claim \{id\}
		}
		channels {
			anonymous {env.ROLLCALL_TEST_NAME}-*
		}`)
	s := h.rollcall.Site
	if h.Prefix != "/lobby" || len(s.Origins) != 1 || !strings.Contains(fmt.Sprint(s.Origins), "app.example.com") || s.Cookie != "my-lobby" ||
		!slices.Equal(h.JWT.Audience, []string{"lobby"}) || h.JWT.IDClaim != "{id}" || !slices.Equal(s.Patterns.Anonymous, []string{"lobby-*"}) {
		t.Errorf("got prefix %s, %+v and %+v", h.Prefix, h.JWT, s)
	}
}

// "{$NAME}" of a variable that is not set is an empty argument.
func TestEmptyArguments(t *testing.T) {
	for _, option := range []string{
		`api_key "{$ROLLCALL_NO_SUCH}"`, `api_key a-key ""`, `api_from ""`, `origins "" https://a.example.com`, `prefix ""`,
		"jwt {\nkey \"\"\n}", "jwt {\njwks \"\"\n}", "jwt {\nissuer \"{$ROLLCALL_NO_SUCH}\"\n}", "jwt {\naudience \"\"\n}",
		"jwt {\ncookie \"\"\n}", "jwt {\nid_claim \"\"\n}", "jwt {\nalgorithms HS256 \"\"\n}",
		"channels {\nauthenticated \"\"\n}", "channels {\ndefault \"\"\n}", "plugin a.wasm {\nname \"\"\n}",
		"plugin a.wasm {\nsha256 \"\"\n}", "plugin a.wasm {\non_failure \"\"\n}", "backend https://a.example.com {\nsecret \"\"\n}",
		"authorize https://a.example.com {\nsecret \"\"\n}", "pusher {\napp 101 key \"\"\n}", "pusher {\npath \"\"\n}",
		`plugin ""`, `backend ""`, `authorize ""`,
	} {
		caddyfile := "a.example.com {\n\trollcall {\n" + option + "\n\t}\n}"
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
		name := strings.Fields(option[strings.Index(option, "\n")+1:])[0]
		if err == nil || !strings.Contains(err.Error(), name+" has an empty argument: is its environment variable set?") {
			t.Errorf("%s: error %v", option, err)
		}
	}
	for _, option := range []string{`user ""`, `user {http.auth.user.id} ""`, "plugin a.wasm {\nconfig {\nlabel \"\"\n}\n}"} {
		adapt(t, "a.example.com {\n\trollcall {\n"+option+"\n\t}\n}")
	}
}

func TestPlaceholdersInTheConfigOfAPlugin(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_NAME", "ada")
	for _, test := range []struct{ name, config, want string }{
		{"an unset variable", `{"ids":["{env.ROLLCALL_NO_SUCH}"]}`, "config is empty: is its environment variable set? ({env.ROLLCALL_NO_SUCH})"},
		{"a part", `{"a":{"b":["x","y-{env.ROLLCALL_NO_SUCH}"]}}`, "config: {env.ROLLCALL_NO_SUCH} is empty"},
		{"no file", `{"ids":"{file./no/such/file}"}`, "{file./no/such/file}"},
		{"other braces", `{"a":"{x}","b":"{\"c\":\"{env.ROLLCALL_TEST_NAME}\"}","c":""}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := PluginConfig{Path: "a.wasm", Config: json.RawMessage(test.config)}
			s, err := c.spec()
			if test.want == "" {
				if want := strings.Replace(test.config, "{env.ROLLCALL_TEST_NAME}", "ada", 1); err != nil || string(s.Config) != want {
					t.Errorf("got %s and error %v, want %s", s.Config, err, want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
