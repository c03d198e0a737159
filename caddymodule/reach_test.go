package caddymodule

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// hidden is a Caddyfile with the directives in one site.
func hidden(directives string) string {
	return "http://a.example.com:9301 {\n" + strings.ReplaceAll(directives, "ROLLCALL", "rollcall {\napi_key k\n}") + "\n}\n"
}

const trySPA = "root /nowhere\ntry_files {path} /index.html\nfile_server\n"

// A rollcall that no request reaches is an error with the block to write, because its endpoints would answer 200 with a
// page, or whatever a proxy says.
func TestHiddenHandlers(t *testing.T) {
	const spa = "write handle /message/* { rollcall ... } and handle { try_files ...; file_server }"
	for _, test := range []struct {
		name, directives, want string // part of the error, "" for none
	}{
		{"page for every path", "ROLLCALL\n" + trySPA, spa},
		{"page for every path, in a route", "route {\nroot /nowhere\ntry_files {path} /index.html\nROLLCALL\nfile_server\n}", spa},
		{"status for every other path", "ROLLCALL\nroot /nowhere\ntry_files {path} =404\nfile_server", spa},
		{"page for what is not a file", "ROLLCALL\nroot /nowhere\n@missing not file\nrewrite @missing /index.html\nfile_server", "write handle /message/*"},
		{"no fallback", "ROLLCALL\nroot /nowhere\ntry_files {path} {path}/\nfile_server", ""},
		{"page for other paths", "ROLLCALL\n@page not path /message/*\nhandle @page {\n" + trySPA + "}", ""},
		{"page in a handle", "handle /message/* {\nROLLCALL\n}\nhandle {\n" + trySPA + "}", ""},

		{"proxy in a handle", "ROLLCALL\nhandle {\nreverse_proxy localhost:1\n}", "reverse_proxy answers every request before rollcall gets it: write handle /message/* { rollcall ... }"},
		{"files in a handle", "ROLLCALL\nhandle {\nfile_server\n}", "file_server answers every request before"},
		{"PHP in a handle", "ROLLCALL\nhandle {\nroot /nowhere\nphp_fastcgi localhost:1\nfile_server\n}", "handle /message/*"},
		{"files that go on", "ROLLCALL\nhandle {\nfile_server {\npass_thru\n}\n}", ""},
		{"proxy for one path", "ROLLCALL\nhandle /api/* {\nreverse_proxy localhost:1\n}", ""},
		{"proxy that handles answers", "ROLLCALL\nhandle {\nreverse_proxy localhost:1 {\n@all status 2xx\nhandle_response @all {\nvars a b\n}\n}\n}", ""},
		{"each in a handle", "handle /message/* {\nROLLCALL\n}\nhandle {\nreverse_proxy localhost:1\n}", ""},
		{"proxy after it", "ROLLCALL\nreverse_proxy localhost:1", ""},
		{"PHP after it", "ROLLCALL\nroot /nowhere\nphp_fastcgi localhost:1\nfile_server", ""},
		{"another prefix", "handle_path /live/* {\nROLLCALL\n}\nhandle {\nreverse_proxy localhost:1\n}", ""},
		{"a guard before it", "basic_auth {\nada $2a$14$TfyBJ1cKCojYSUFmm3cuoOxZEAkMjhPVr7XPk48h3sbu4QmrLk9qi\n}\nROLLCALL\nrespond 404", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, hidden(test.directives))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("does not load: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "rollcall for a.example.com (listener :9301")):
				t.Errorf("got %v, want an error of the site with %q", err, test.want)
			}
		})
	}
}

// What may be on purpose is a warning.
func TestReachWarnings(t *testing.T) {
	const guards, off = "guards nothing", "gets no requests"
	for _, test := range []struct {
		name, directives, want string // part of the only warning, "" for none
	}{
		{"redirected", "ROLLCALL\nredir https://elsewhere.test{uri}", off},
		{"switched off with a text", "route {\nrespond 503\nROLLCALL\n}", off},
		{"switched off with an error", "route {\nerror 503\nROLLCALL\n}", off},
		{"switched off", "route {\nabort\nROLLCALL\n}", off},
		{"another path is redirected", "ROLLCALL\nredir /old /new", ""},
		{"a guard before it", "route {\nrespond /message/users 403\nROLLCALL\n}", ""},
		{"a guard after it", "ROLLCALL\nrespond /message/users 403", guards},
		{"a guard after it for all endpoints", "ROLLCALL\nrespond /message/* 403", guards},
		{"an answer after it for other paths", "ROLLCALL\nrespond /healthz 200", ""},
		{"an answer after it for the rest", "ROLLCALL\nrespond 404", ""},
		{"api_from", "rollcall {\napi_key k\napi_from private_ranges\n}\nrespond /message/users 403", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustLoad(t, hidden(test.directives))
			h := c.handler(t)
			core, logs := observer.New(zapcore.WarnLevel)
			if err := h.checkReach(c.ctx, &h.way, zap.New(core)); err != nil {
				t.Fatal(err)
			}
			entries := logs.All()
			switch {
			case test.want == "" && len(entries) > 0:
				t.Errorf("the log has %q", entries[0].Message)
			case test.want != "" && (len(entries) != 1 || !strings.Contains(entries[0].Message, test.want)):
				t.Errorf("the log has %v, want one line with %q", entries, test.want)
			}
		})
	}
}
