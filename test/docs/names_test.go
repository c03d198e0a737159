package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source parses the Go files of a folder of the repository, except tests.
func source(t *testing.T, folder string) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".go" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, folder, e.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

func inspect(t *testing.T, folder string, visit func(ast.Node)) {
	t.Helper()
	for _, f := range source(t, folder) {
		ast.Inspect(f, func(n ast.Node) bool {
			if n != nil {
				visit(n)
			}
			return true
		})
	}
}

// notShipped are the folders that are not part of Rollcall. Their messages are not documented.
var notShipped = []string{"bench", "docs/backends", "examples", "plugins/hostile", "plugins/sdk", "scripts", "test", "tools"}

// inspectAll visits all Go files of Rollcall, in any folder.
func inspectAll(t *testing.T, visit func(ast.Node)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		folder, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if name := d.Name(); folder != "." && (slices.Contains(notShipped, filepath.ToSlash(folder)) || name == "testdata" || name[0] == '.') {
			return fs.SkipDir
		}
		inspect(t, folder, visit)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// literal returns the value of a string literal.
func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

func isNamed(e ast.Expr, names ...string) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return slices.Contains(names, e.Name)
	case *ast.SelectorExpr:
		return slices.Contains(names, e.Sel.Name)
	}
	return false
}

// constants returns the string constants of a type.
func constants(t *testing.T, folder, kind string) []string {
	t.Helper()
	var found []string
	inspect(t, folder, func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil || !isNamed(spec.Type, kind) {
			return
		}
		for _, v := range spec.Values {
			if s, ok := literal(v); ok {
				found = append(found, s)
			}
		}
	})
	return found
}

// documented checks that a page has each name as code. The number of different names must be at
// least least, and not much more: if least is not close to the number, a name that is no longer
// found goes unnoticed.
func documented(t *testing.T, name string, names []string, least int) {
	t.Helper()
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) < least {
		t.Fatalf("only %d names found in the source, want %d: %q", len(names), least, names)
	}
	if most := least + least/4 + 3; len(names) > most {
		t.Errorf("%d names found in the source: replace %d with a number close to that", len(names), least)
	}
	p := readPage(t, name)
	for _, n := range names {
		if !strings.Contains(p.text, "`"+n+"`") {
			t.Errorf("%s does not name `%s`", name, n)
		}
	}
}

// TestOptionsAreDocumented finds the subdirectives in the parser and the JSON names in the types.
func TestOptionsAreDocumented(t *testing.T) {
	configured := []string{
		"App", "Authorize", "Backend", "Channels", "ClusterConfig", "ClusterTLS", "Console", "Handler", "JWT", "Limits", "Ping",
		"PluginConfig", "Pusher", "PusherApp", "UserPlaceholders",
	}
	var options, tags, found []string
	inspectAll(t, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if n.Type == nil || !isNamed(n.Type, "options") {
				return
			}
			for _, e := range n.Elts {
				if s, ok := literal(e.(*ast.KeyValueExpr).Key); ok {
					options = append(options, s)
				}
			}
		case *ast.TypeSpec:
			if _, ok := n.Type.(*ast.StructType); !ok || !isNamed(n.Name, configured...) {
				return
			}
			if names := jsonNames(t, n); len(names) > 0 { // other types have the same name
				tags = append(tags, names...)
				found = append(found, n.Name.Name)
			}
		}
	})
	slices.Sort(found)
	if !slices.Equal(found, configured) {
		t.Errorf("the types of the configuration are %q, found are %q", configured, found)
	}
	documented(t, "docs/configuration.md", options, 95)
	documented(t, "docs/configuration.md", tags, 87)
}

func jsonNames(t *testing.T, spec *ast.TypeSpec) []string {
	t.Helper()
	fields, ok := spec.Type.(*ast.StructType)
	if !ok {
		t.Fatalf("%s is not a struct", spec.Name.Name)
	}
	var names []string
	for _, f := range fields.Fields.List {
		if f.Tag == nil {
			continue
		}
		_, tag, ok := strings.Cut(f.Tag.Value, `json:"`)
		tag, _, _ = strings.Cut(tag, `"`)
		name, _, _ := strings.Cut(tag, ",")
		if ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// TestErrorCodesAreDocumented covers the codes of error frames, of HTTP problems, and of close
// frames.
func TestErrorCodesAreDocumented(t *testing.T) {
	documented(t, "docs/websocket.md", constants(t, "caddymodule/wire", "Code"), 12)
	documented(t, "docs/websocket.md", constants(t, "caddymodule/wire", "Type"), 5)

	var problems []string
	inspectAll(t, func(n ast.Node) {
		if kv, ok := n.(*ast.KeyValueExpr); ok && isNamed(kv.Key, "Code") {
			if s, ok := literal(kv.Value); ok {
				problems = append(problems, s)
			}
		}
	})
	documented(t, "docs/http-api.md", problems, 25)
	described(t, "docs/openapi.yaml", problems)
	described(t, "docs/asyncapi.yaml", constants(t, "caddymodule/wire", "Code"))

	var codes []string
	inspect(t, "caddymodule/socket", func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Close") || len(spec.Values) == 0 {
			return
		}
		if l, ok := spec.Values[0].(*ast.BasicLit); ok && spec.Names[0].Name != "CloseNoStatus" {
			codes = append(codes, l.Value)
		}
	})
	documented(t, "docs/websocket.md", codes, 13)
}

var (
	enumLine   = regexp.MustCompile(`(?m)^ +- (\w+)$`)
	statusRow  = regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `(\\w+)` \\|")
	statusLine = regexp.MustCompile(`(?m)^ +- (\d{3}): (.*)$`)
)

// described checks that a file for programs lists these codes and no others.
func described(t *testing.T, name string, codes []string) {
	t.Helper()
	var listed []string
	for _, line := range enumLine.FindAllStringSubmatch(readFile(t, name), -1) {
		listed = append(listed, line[1])
	}
	codes = slices.Compact(slices.Sorted(slices.Values(codes)))
	if !slices.Equal(listed, codes) {
		t.Errorf("%s lists the codes\n%q, want\n%q", name, listed, codes)
	}
}

// TestStatusesAreDescribed compares the codes of each HTTP status in the tables for people with the
// list for programs.
func TestStatusesAreDescribed(t *testing.T) {
	want, got := map[string][]string{}, map[string][]string{}
	for _, row := range statusRow.FindAllStringSubmatch(readFile(t, "docs/http-api.md"), -1) {
		want[row[1]] = append(want[row[1]], row[2])
	}
	for _, line := range statusLine.FindAllStringSubmatch(readFile(t, "docs/openapi.yaml"), -1) {
		got[line[1]] = strings.Split(line[2], ", ")
	}
	for status, codes := range want {
		want[status] = slices.Compact(slices.Sorted(slices.Values(codes)))
	}
	if len(want) < 10 || !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("docs/openapi.yaml lists the codes\n%q, want\n%q", got, want)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReasonsOfLeftAreDocumented finds the reasons in left frames, which are error codes in
// client.js.
func TestReasonsOfLeftAreDocumented(t *testing.T) {
	reasons := constants(t, "presence", "Reason")
	documented(t, "docs/websocket.md", reasons, 2)
	types, err := os.ReadFile(filepath.Join(root, "clients/js/rollcall.d.ts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range reasons {
		if !strings.Contains(string(types), `"`+reason+`"`) {
			t.Errorf("client.d.ts does not have %q among its codes", reason)
		}
	}
}

var (
	reasonType = regexp.MustCompile(`(?s)export type Reason =(.*?);`)
	quoted     = regexp.MustCompile(`"(\w+)"`)
)

// TestReasonsOfStatesAreDocumented finds the reasons for a state of the client in its types.
func TestReasonsOfStatesAreDocumented(t *testing.T) {
	types, err := os.ReadFile(filepath.Join(root, "clients/js/rollcall.d.ts"))
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, m := range quoted.FindAllStringSubmatch(reasonType.FindString(string(types)), -1) {
		reasons = append(reasons, m[1])
	}
	documented(t, "docs/websocket.md", reasons, 21)
}

var (
	errorRow    = regexp.MustCompile("(?m)^\\| `([^|]*)` \\| [^|]* \\|$")
	placeholder = regexp.MustCompile(`"?\b[NXYZ]\b"?|\.\.\.`)
)

// TestErrorTextsAreReal looks for the documented errors of the configuration in the source: for the
// parts around placeholders.
func TestErrorTextsAreReal(t *testing.T) {
	var source strings.Builder
	inspectAll(t, func(n ast.Node) {
		if e, ok := n.(ast.Expr); ok {
			if s, ok := literal(e); ok {
				source.WriteString(s + "\n")
			}
		}
	})
	_, table, ok := strings.Cut(readPage(t, "docs/configuration.md").text, "\n## Errors\n")
	rows := errorRow.FindAllStringSubmatch(table, -1)
	if !ok || len(rows) < 30 {
		t.Fatalf("only %d errors found", len(rows))
	}
	for _, row := range rows {
		for _, piece := range placeholder.Split(row[1], -1) {
			if !strings.Contains(source.String(), strings.Trim(piece, " `:;")) {
				t.Errorf("no error has the text %q of %q", piece, row[1])
			}
		}
	}
}

var metricName = regexp.MustCompile(`caddy_rollcall_\w+`)

// TestMetricsAreDocumented checks both directions: every metric is documented, and every documented
// metric exists.
func TestMetricsAreDocumented(t *testing.T) {
	var metrics []string
	inspectAll(t, func(n ast.Node) {
		if lit, ok := n.(ast.Expr); ok {
			if name, ok := literal(lit); ok && metricName.FindString(name) == name && name != "" {
				metrics = append(metrics, name)
			}
		}
	})
	documented(t, "docs/operations.md", metrics, 53)
	for _, p := range pages(t) {
		for _, name := range metricName.FindAllString(p.text, -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
			if !slices.Contains(metrics, base) {
				t.Errorf("%s names the metric %s, which is not in the source", p.name, name)
			}
		}
	}

	reasons := constants(t, "caddymodule/socket", "Reason")
	inspectAll(t, func(n ast.Node) {
		if call, ok := n.(*ast.CallExpr); ok && isNamed(call.Fun, "refuse") && len(call.Args) == 5 {
			if s, ok := literal(call.Args[3]); ok {
				reasons = append(reasons, s)
			}
		}
	})
	documented(t, "docs/operations.md", reasons, 16)
}

// TestLogMessagesAreDocumented finds the log messages of all packages.
func TestLogMessagesAreDocumented(t *testing.T) {
	var messages []string
	inspectAll(t, func(n ast.Node) {
		if words, ok := n.(*ast.CompositeLit); ok && words.Type != nil && isNamed(words.Type, "words") {
			for _, e := range words.Elts {
				if text, ok := literal(e.(*ast.KeyValueExpr).Value); ok {
					messages = append(messages, text)
				}
			}
			return
		}
		call, ok := n.(*ast.CallExpr)
		if !ok || !isNamed(call.Fun, "Debug", "Info", "Warn", "Error", "Check", "logFailure", "complain") {
			return
		}
		for _, arg := range call.Args {
			if s, ok := literal(arg); ok {
				messages = append(messages, s)
			}
		}
	})
	documented(t, "docs/operations.md", messages, 75)
}

// TestPluginReasonsAreDocumented covers the reasons for failed calls of a plugin: a label of
// metrics and a log field.
func TestPluginReasonsAreDocumented(t *testing.T) {
	documented(t, "docs/operations.md", constants(t, "plugins", "Reason"), 11)
}

// TestBackendReasonsAreDocumented covers the reasons for failed copies: a label of metrics and a
// log field.
func TestBackendReasonsAreDocumented(t *testing.T) {
	documented(t, "docs/operations.md", constants(t, "caddymodule/backend", "Reason"), 10)
}

// TestAuthorizeResultsAreDocumented covers the results of questions that are not reasons for failed
// copies, too.
func TestAuthorizeResultsAreDocumented(t *testing.T) {
	documented(t, "docs/operations.md", constants(t, "caddymodule/authorize", "result"), 5)
}

// TestPluginReportIsDocumented covers the fields of GET /rollcall/plugins.
func TestPluginReportIsDocumented(t *testing.T) {
	var fields []string
	inspect(t, "plugins", func(n ast.Node) {
		if spec, ok := n.(*ast.TypeSpec); ok && isNamed(spec.Name, "Report", "HostReport") {
			fields = append(fields, jsonNames(t, spec)...)
		}
	})
	documented(t, "docs/operations.md", fields, 15)
}

// TestPluginContractNamesEveryExportAndImport finds the names of exports and imports in the host.
func TestPluginContractNamesEveryExportAndImport(t *testing.T) {
	name := regexp.MustCompile(`^(_initialize|rollcall(_[a-z0-9]+)+)$`)
	var exports []string
	inspect(t, "plugins", func(n ast.Node) {
		if e, ok := n.(ast.Expr); ok {
			if s, ok := literal(e); ok && name.MatchString(s) {
				exports = append(exports, s)
			}
		}
	})
	documented(t, "docs/plugin-contract.md", exports, 8)
}

// TestCommandFlagsAreDocumented finds the flags of caddy rollcall-plugin and of caddy rollcall.
func TestCommandFlagsAreDocumented(t *testing.T) {
	var flags, running []string
	for _, f := range source(t, "caddymodule/command") {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isNamed(call.Fun, "String", "StringP", "StringArray", "Int", "Int64", "Duration", "Bool") || len(call.Args) < 3 {
				return true
			}
			switch s, ok := literal(call.Args[0]); {
			case !ok:
			case isBelowRollcall(f):
				running = append(running, "--"+s)
			default:
				flags = append(flags, "--"+s)
			}
			return true
		})
	}
	documented(t, "docs/plugins.md", flags, 25)
	p := readPage(t, "docs/operations.md")
	if len(running) < 6 {
		t.Fatalf("only the flags %q found", running)
	}
	for _, flag := range running {
		if !strings.Contains(p.text, flag) {
			t.Errorf("docs/operations.md does not name %s", flag)
		}
	}
}

// isBelowRollcall reports whether a file has commands of caddy rollcall.
func isBelowRollcall(f *ast.File) bool {
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && slices.Contains([]string{
			"askAdmin", "versionCommand", "auditCommand", "listCommands", "actCommands", "watchCommand", "tokenCommand", "connectCommand",
		}, fn.Name.Name)
	})
}

// TestAdminEndpointsAreDocumented finds the routes of the admin API, with their methods.
func TestAdminEndpointsAreDocumented(t *testing.T) {
	methods := map[string]string{"adminGet": "GET ", "adminPost": "POST "}
	var endpoints []string
	inspectAll(t, func(n ast.Node) {
		route, ok := n.(*ast.CompositeLit)
		if !ok {
			return
		}
		var pattern, method string
		for _, e := range route.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			switch {
			case !ok:
			case isNamed(kv.Key, "Pattern"):
				pattern, _ = literal(kv.Value)
			case isNamed(kv.Key, "Handler"):
				if call, ok := kv.Value.(*ast.CallExpr); ok {
					for helper, m := range methods {
						if isNamed(call.Fun, helper) {
							method = m
						}
					}
				}
			}
		}
		if pattern != "" {
			if method == "" {
				t.Errorf("the method of %s is not known", pattern)
			}
			endpoints = append(endpoints, method+pattern)
		}
	})
	documented(t, "docs/operations.md", endpoints, 12)
}

// TestNoPageIsElsewhere checks that docs has no pages in folders, which would not be tested.
func TestNoPageIsElsewhere(t *testing.T) {
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(name string, d fs.DirEntry, err error) error {
		backends := filepath.Join(root, "docs", "backends", "README.md") // has a test of its own
		if err == nil && filepath.Ext(name) == ".md" && filepath.Dir(name) != filepath.Join(root, "docs") && name != backends {
			t.Errorf("%s is in a folder, where the tests of the pages do not look", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
