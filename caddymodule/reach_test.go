package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Caddyfiles in which no request would reach rollcall do not load; others do.
func TestWhatKeepsRequestsFromRollcall(t *testing.T) {
	const (
		blocks   = "write handle /message/* { rollcall ... } and handle { try_files ...; file_server }"
		proxied  = "reverse_proxy answers every request before rollcall gets it: write handle /message/* { rollcall ... } and handle { reverse_proxy ... }"
		off      = "rollcall gets no requests: the site answers all of them before"
		answered = "rollcall gets no requests for its endpoints: another route answers them before"
		some     = "rollcall does not get the requests for some endpoints: they are rewritten before"
		guard    = "restrict who may ask with api_from"
		twice    = `write handle instead of handle_path","site":"rollcall for a.example.com, x.b.example.com (listener :8080, prefix /message)","path":"/message/message"`
	)
	for _, test := range []struct{ name, Site, err, warning string }{
		// A page that takes every path.
		{"SPA", "root /srv\nrollcall\ntry_files {path} /index.html\nfile_server", blocks, ""},
		{"SPA in order", "route {\nroot /srv\ntry_files {path} /index.html\nrollcall\nfile_server\n}", blocks, ""},
		{"SPA with a query", "rollcall\ntry_files {path} /index.html?{query}\nfile_server", blocks, ""},
		{"SPA with a policy", "rollcall\ntry_files {path} /index.html {\npolicy first_exist_fallback\n}\nfile_server", blocks, ""},
		{"status in place of a page", "rollcall\ntry_files {path} =404\nfile_server", blocks, ""},
		{"rollcall with a matcher", "rollcall /message/*\ntry_files {path} /index.html\nfile_server", blocks, ""},
		{"rollcall in a handle", "try_files {path} /index.html\nhandle /message/* {\nrollcall\n}\nfile_server", blocks, ""},
		{"other prefix", "rollcall {\nprefix /live\n}\ntry_files {path} /index.html\nfile_server", "handle /live/* { rollcall ... }", ""},
		{"SPA of a host", "@a host a.example.com\nhandle @a {\nrollcall\ntry_files {path} /index.html\n}", blocks, ""},
		{"SPA in a route before", "route {\ntry_files {path} /index.html\n}\nrollcall", blocks, ""},
		{"SPA by a matcher", "@file file {path} /index.html\nrewrite @file {http.matchers.file.relative}\nrollcall", blocks, ""},
		{"SPA by not file", "@none not file\nrewrite @none /index.html\nrollcall\nfile_server", "handle /message/* { rollcall ... }", ""},
		{"SPA whose page is called like an endpoint", "rollcall\ntry_files {path} /users\nfile_server", blocks, ""},
		{"SPA for what is not an endpoint", "@page not path /message/*\nrewrite @page /index.html\nrollcall\nfile_server", "", ""},
		{"SPA for pages", "@page {\nnot path /message/*\nfile {path} /index.html\n}\nrewrite @page {http.matchers.file.relative}\nrollcall\nfile_server", "", ""},
		{"SPA by a header", "@html {\nheader Accept *text/html*\nfile {path} /index.html\n}\nrewrite @html {http.matchers.file.relative}\nrollcall\nfile_server", "", ""},
		{"SPA for GET", "@get {\nmethod GET\nfile {path} /index.html\n}\nrewrite @get {http.matchers.file.relative}\nrollcall\nfile_server", "", some},
		{"try_files without a fallback", "rollcall\ntry_files {path} {path}.html {path}/\nfile_server", "", ""},
		{"try_files after rollcall", "route {\nrollcall\ntry_files {path} /index.html\nfile_server\n}", "", ""},
		{"two blocks", "handle /message/* {\nrollcall\n}\nhandle {\ntry_files {path} /index.html\nfile_server\n}", "", ""},
		{"two blocks for paths", "handle /app/* {\ntry_files {path} /app/index.html\nfile_server\n}\nrollcall\nfile_server", "", ""},
		{"switch", "@maintenance file /maintenance.html\nrewrite @maintenance /maintenance.html\nrollcall\nfile_server", "", ""},
		{"PHP in order", "route {\nroot /srv\nphp_fastcgi 127.0.0.1:9\nrollcall\n}", "php_fastcgi answers every request", ""},

		// A catch-all.
		{"proxy in a handle", "rollcall\nhandle {\nreverse_proxy 127.0.0.1:9\n}", proxied, ""},
		{"proxy beside a handle", "rollcall\nhandle /api/* {\nreverse_proxy 127.0.0.1:9\n}\nhandle {\nreverse_proxy 127.0.0.1:9\n}", proxied, ""},
		{"proxy in order", "route {\nreverse_proxy 127.0.0.1:9\nrollcall\n}", proxied, ""},
		{"files in a handle", "rollcall\nhandle {\nroot /srv\nfile_server\n}", "handle { file_server ... }", ""},
		{"SPA in a handle", "rollcall\nhandle {\ntry_files {path} /index.html\nfile_server\n}", "handle { file_server ... }", ""},
		{"files in a route", "rollcall\nroute {\nfile_server\n}", "handle { file_server ... }", ""},
		{"PHP in a handle", "rollcall\nhandle {\nphp_fastcgi 127.0.0.1:9\n}", "php_fastcgi answers every request", ""},
		{"handle for all paths", "rollcall\nhandle * {\nreverse_proxy 127.0.0.1:9\n}", proxied, ""},
		{"handle for the hosts", "@all host a.example.com *.b.example.com\nhandle @all {\nreverse_proxy 127.0.0.1:9\n}\nrollcall", proxied, ""},
		{"handle for one of the hosts", "@a host a.example.com\nhandle @a {\nreverse_proxy 127.0.0.1:9\n}\nrollcall", "", ""},
		{"two rollcall", "rollcall {\napi_key off\n}\nrollcall {\napi_key off\n}", "is never reached, because rollcall for a.example.com", ""},
		{"two rollcall, one in a handle", "handle {\nrollcall {\napi_key off\n}\n}\nrollcall {\napi_key off\n}", "is never reached", ""},
		{"two prefixes", "rollcall {\nprefix /a\napi_key off\n}\nrollcall {\nprefix /b\napi_key off\n}", "", ""},
		{"branches of a group", "handle /message/* {\nrollcall\n}\nhandle {\nreverse_proxy 127.0.0.1:9\n}", "", ""},
		{"branch that is after another", "handle /message/other/* {\nreverse_proxy 127.0.0.1:9\n}\nhandle /message/* {\nrollcall\n}", "", ""},
		{"two handles for all, which are one", "handle {\nroot /a\n}\nhandle {\nrollcall\n}", "", ""},
		{"proxy for another path", "rollcall\nhandle /api/* {\nreverse_proxy 127.0.0.1:9\n}", "", ""},
		{"proxy for the endpoints", "rollcall\nhandle /message/* {\nreverse_proxy 127.0.0.1:9\n}", "", answered},
		{"proxy that handles responses", "route {\nreverse_proxy 127.0.0.1:9 {\n@no status 404\nhandle_response @no {\n}\n}\nrollcall\n}", "", ""},
		{"files that pass", "route {\nfile_server {\npass_thru\n}\nrollcall\n}", "", ""},
		{"authentication", "forward_auth 127.0.0.1:9 {\nuri /auth\ncopy_headers Remote-User\n}\nrollcall\nreverse_proxy 127.0.0.1:9", "", ""},
		{"authentication of the page", "basic_auth {\nada $2a$14$TfyBJ1cKCojYSUFmm3cuoOxZEAkMjhPVr7XPk48h3sbu4QmrLk9qi\n}\nrollcall\nrespond 404", "", ""},
		{"proxy after", "rollcall\nreverse_proxy 127.0.0.1:9", "", ""},
		{"below a stripped path", "handle_path /api/* {\nrollcall\n}\nhandle {\nreverse_proxy 127.0.0.1:9\n}", "", ""},
		{"catch-all below a stripped path", "handle_path /api/* {\nhandle {\nreverse_proxy 127.0.0.1:9\n}\nrollcall\n}", proxied, ""},
		{"other branch of a stripped path", "handle_path /api/* {\nhandle /other/* {\nreverse_proxy 127.0.0.1:9\n}\nrollcall\n}", "", ""},
		{"below the prefix, which is stripped", "handle_path /message/* {\nrollcall\n}\nhandle {\nreverse_proxy 127.0.0.1:9\n}", "", twice},
		{"below another prefix, which is stripped", "handle_path /live/* {\nrollcall {\nprefix /live\n}\n}", "", "path\":\"/live/live\""},
		{"below the prefix, which is stripped in order", "route /message/* {\nuri strip_prefix /message\nrollcall\n}", "", twice},
		{"below two paths, which are stripped", "handle_path /api/* {\nhandle_path /message/* {\nrollcall\n}\n}", "", "path\":\"/api/message/message\""},
		{"in the answers of a proxy", "reverse_proxy 127.0.0.1:9 {\n@no status 404\nhandle_response @no {\nrollcall\n}\n}", "", ""},
		{"in errors", "reverse_proxy 127.0.0.1:9\nhandle_errors {\nrollcall\n}", "", ""},
		{"invoked route", "route {\ninvoke app\nrollcall\n}", proxied, ""},

		// A site that is switched off.
		{"redir", "redir https://other.example.com{uri}\nrollcall", "", off},
		{"respond in a handle", "rollcall\nhandle {\nrespond 503\n}", "", off},
		{"error", "error 503\nrollcall", "", off},
		{"abort", "abort\nrollcall", "", off},
		{"rewrite", "rewrite * /maintenance.html\nrollcall\nfile_server", "", off},
		{"redir of a path", "redir /old /new\nrollcall", "", ""},
		{"rewrite of a path", "rewrite /old /new\nrollcall", "", ""},
		{"rewrite to the endpoint", "rewrite /ws /message/socket\nrollcall", "", ""},
		{"rewrite by placeholders", "rewrite * {http.vars.path}\nrollcall", "", ""},
		{"one endpoint that is closed", "route {\nrespond /message/allusers 403\nrollcall\n}", "", ""},

		// A guard that comes too late.
		{"respond after", "rollcall\nrespond /message/users 403", "", guard},
		{"respond for addresses", "@out {\npath /message/*\nnot remote_ip 10.0.0.0/8\n}\nrollcall\nrespond @out 403", "", guard},
		{"respond after a route", "route {\nrollcall\n}\nrespond /message/users 403", "", guard},
		{"error after, in order", "route {\nrollcall\nerror /message/users 403\n}", "", guard},
		{"respond after handle_path", "handle_path /api/* {\nrollcall\nrespond /message/users 403\n}", "", guard},
		{"respond with api_from", "rollcall {\napi_from private_ranges\n}\nrespond /message/users 403", "", ""},
		{"respond for another path", "rollcall\nrespond /health 200", "", ""},
		{"respond for all", "rollcall\nrespond 404", "", ""},
		{"redirect before", "rollcall\nroute /message/* {\nredir * /elsewhere\n}", "", answered},
		{"redirect after", "route {\nrollcall\nredir /message/* /elsewhere\n}", "", ""},
		{"proxy of the same path", "rollcall\nreverse_proxy /message/* 127.0.0.1:9", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			ctx := newContext(t, "{\n\tauto_https off\n}\n&(app) {\n\treverse_proxy 127.0.0.1:9\n}\n"+
				"http://a.example.com:8080, http://x.b.example.com:8080 {\n"+test.Site+"\n}", log)
			_, err := ctx.App("http")
			checkReached(t, err, log, test.err, test.warning)
		})
	}
}

// checkReached compares the error and the warnings of loading with the expected ones.
func checkReached(t *testing.T, err error, log, wantErr, wantWarning string) {
	t.Helper()
	if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr) ||
		!strings.Contains(err.Error(), ": rollcall for a.example.com, x.b.example.com (listener :8080, prefix /") && !strings.Contains(err.Error(), "rollcall for a.example.com (")) {
		t.Errorf("error %v, want %q", err, wantErr)
	}
	text, readErr := os.ReadFile(log)
	if readErr != nil && !os.IsNotExist(readErr) {
		t.Fatal(readErr)
	}
	var warnings []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"warn"`) && !strings.Contains(line, "no api_key") {
			warnings = append(warnings, line)
		}
	}
	switch all := strings.Join(warnings, ""); {
	case wantWarning == "" && strings.Contains(all, "rollcall"), wantWarning != "" && strings.Count(all, wantWarning) != 1:
		t.Errorf("the warnings are %q, want %q", all, wantWarning)
	}
}

// JSON can have routes that no Caddyfile becomes.
func TestWhatKeepsRequestsFromRollcallInJSON(t *testing.T) {
	const (
		ours  = `{"handle":[{"handler":"rollcall"}]}`
		proxy = `{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:9"}]}`
	)
	for _, test := range []struct{ name, routes, err string }{
		{"branch of a group after one for all", `{"group":"g","handle":[{"handler":"vars"}]},{"group":"g","handle":[{"handler":"rollcall"}]}`, "another handle answers every request"},
		{"branch of a group after one for a path", `{"group":"g","match":[{"path":["/a"]}],"handle":[` + proxy + `]},{"group":"g","handle":[{"handler":"rollcall"}]}`, ""},
		{"another group", `{"group":"g","handle":[{"handler":"vars"}]},{"group":"h","handle":[{"handler":"rollcall"}]}`, ""},
		{"terminal route", `{"handle":[{"handler":"vars"}],"terminal":true},` + ours, "a terminal route answers every request"},
		{"terminal route for a path", `{"match":[{"path":["/a"]}],"handle":[{"handler":"vars"}],"terminal":true},` + ours, ""},
		{"terminal route for the host", `{"match":[{"host":["a.example.com"]}],"handle":[{"handler":"vars"}],"terminal":true},{"match":[{"host":["a.example.com"]}],"handle":[{"handler":"rollcall"}]}`, "a terminal route"},
		{"terminal route for another host", `{"match":[{"host":["b.example.com"]}],"handle":[{"handler":"vars"}],"terminal":true},{"match":[{"host":["a.example.com"]}],"handle":[{"handler":"rollcall"}]}`, ""},
		{"in one route", `{"handle":[` + proxy + `,{"handler":"rollcall"}]}`, "reverse_proxy answers every request"},
		{"in one route with a matcher", `{"match":[{"path":["/message/*"]}],"handle":[` + proxy + `,{"handler":"rollcall"}]}`, "reverse_proxy"},
		{"proxy for any of two hosts", `{"match":[{"host":["a.example.com"]},{"host":["b.example.com"]}],"handle":[` + proxy + `]},{"match":[{"host":["b.example.com","a.example.com"]}],"handle":[{"handler":"rollcall"}]}`, "reverse_proxy"},
		{"unknown handler", `{"handle":[{"handler":"rollcall_test_container"}]},` + ours, ""},
		{"unknown handler around it", `{"handle":[{"handler":"rollcall_test_container","routes":[{"handle":[` + proxy + `]},` + ours + `]}]}`, "reverse_proxy"},
		{"matcher that is not known", `{"match":[{"vars":{"a":["b"]}}],"handle":[` + proxy + `]},` + ours, ""},
		{"routes that invoke each other", `{"handle":[{"handler":"invoke","name":"n"}]},` + ours, ""},
		{"rewrite of the method", `{"handle":[{"handler":"rewrite","method":"GET"}]},` + ours, ""},
		{"rewrites by pattern", `{"handle":[{"handler":"rewrite","path_regexp":[{"find":"^/x","replace":"/"}],"uri_substring":[{"find":"//","replace":"/"}],"query":{"delete":["a"]}},{"handler":"rollcall"}]}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newContext(t, "{\n}", "").LoadModuleByID("http", json.RawMessage(`{"servers":{"s":{"listen":["127.0.0.1:0"],`+
				`"automatic_https":{"disable":true},"named_routes":{"n":{"handle":[{"handler":"invoke","name":"n"}]}},"routes":[`+test.routes+`]}}}`))
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}
