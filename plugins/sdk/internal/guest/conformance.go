package guest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Conformance runs the probe of an SDK, a plugin that does what its input says, and checks it
// against the contract. The probes of all SDKs do the same.
func Conformance(t *testing.T, file []byte) {
	t.Run("configure", func(t *testing.T) { configure(t, file) })
	t.Run("requests", func(t *testing.T) { requests(t, file) })
	t.Run("decisions", func(t *testing.T) { decisions(t, file) })
	t.Run("members", func(t *testing.T) { members(t, file) })
	t.Run("live", func(t *testing.T) { live(t, file) })
	consults(t, file)
	t.Run("shape", func(t *testing.T) { shape(t, file) })
	t.Run("JSON", func(t *testing.T) { jsonValues(t, file) })
	t.Run("failures", func(t *testing.T) { failures(t, file) })
	t.Run("large inputs", func(t *testing.T) { large(t, file) })
}

// Configured returns an instance with an empty configuration.
func Configured(t testing.TB, file []byte) *Guest {
	t.Helper()
	g := New(t, file)
	if result, err := g.module.ExportedFunction("rollcall_buffer").Call(t.Context(), 0); err != nil || result[0] == 0 {
		t.Fatalf("a buffer for nothing: %d, %v", result, err)
	}
	result, err := g.Call("rollcall_configure", []byte(`{"host":"h","plugin":"probe","config":{}}`))
	if err != nil || result != 0 {
		t.Fatalf("configure: %d, %v, %q", result, err, g.Logs)
	}
	g.Logs = nil
	return g
}

func configure(t *testing.T, file []byte) {
	for _, c := range []struct {
		name, config string
		ok           bool
		log          string
	}{
		{
			"every type", `{"word":"w","words":["a","b"],"flag":true,"number":"42","inner":{"deep":"d"}}`, true,
			"1 h|probe|w|a+b|true|42|d",
		},
		{"nothing", `{}`, true, "1 h|probe|none||false|-1|none"},
		{"no block", `null`, true, "1 h|probe|none||false|-1|none"},
		{"one word for several", `{"words":"a","flag":"false"}`, true, "1 h|probe|none|a|false|-1|none"},
		{"unknown name", `{"wrod":"w"}`, false, "3 config.wrod: unknown; known are word, words, flag, number, inner"},
		{"several words for one", `{"word":["a","b"]}`, false, "3 config.word: want one word, got several words"},
		{"block for words", `{"words":{"a":"b"}}`, false, "3 config.words: want one or more words, got a block"},
		{"word for a flag", `{"flag":"maybe"}`, false, "3 config.flag: want nothing, true or false, got a word"},
		{"word for a number", `{"number":"4x"}`, false, `3 config.number: want an integer, got "4x"`},
		{"word for a block", `{"inner":"x"}`, false, "3 config.inner: want a block in braces, got a word"},
		{"flag for a word", `{"inner":{"deep":true}}`, false, "3 config.inner.deep: want one word, got nothing"},
		{"word for the config", `"x"`, false, "3 config: want a block in braces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := New(t, file)
			result, err := g.Call("rollcall_configure", []byte(`{"host":"h","plugin":"probe","config":`+c.config+`}`))
			if err != nil || (result == 0) != c.ok || !slices.Equal(g.Logs, []string{c.log}) {
				t.Errorf("got %d, %v and the log %q; want %q", result, err, g.Logs, c.log)
			}
		})
	}
}

func requests(t *testing.T, file []byte) {
	g := Configured(t, file)
	user := Request{1, 1, 0, "h.example", "grün 🎉", "u1", "u1@h.example", []byte{9, 0, 1, 0, 7}}
	nobody := Request{1, 2, 1, "h.example", "lobby", "", "", nil}
	eve := Request{1, 1, 0, "h.example", "team", "eve", "", nil}
	for i, c := range []struct {
		request Request
		want    uint64
		log     string
	}{
		{user, 0, "2 h.example|grün 🎉|1|known|u1|u1@h.example"},
		{nobody, 0, "2 h.example|lobby|2|anonymous||"},
		{eve, 1, "2 h.example|team|1|known|eve|"},
	} {
		got, err := g.Call("rollcall_authorize", c.request.Encode())
		if err != nil || got != c.want || len(g.Logs) != i+1 || g.Logs[i] != c.log {
			t.Errorf("authorize: got %d, %v, log %q; want %d, log %q", got, err, g.Logs, c.want, c.log)
		}
	}
}

func decisions(t *testing.T, file []byte) {
	g := Configured(t, file)
	for channel, want := range map[string]uint64{
		"other": 0, "authenticated": 1, "anonymous": 2, "denied": 3, "other+hidden": 0x100, "other+count": 0x200,
		"anonymous+hidden": 0x102, "authenticated+count+hidden": 0x301, "": 0, "denie": 0,
	} {
		request := Request{Version: 1, Kind: 1, Host: "h", Channel: channel}
		if got, err := g.Call("rollcall_classify", request.Encode()); err != nil || got != want {
			t.Errorf("classify %q: got %#x, %v; want %#x", channel, got, err, want)
		}
	}
}

func members(t *testing.T, file []byte) {
	g := Configured(t, file)
	other := User("1", "ann@example.com")
	for _, c := range []struct {
		name     string
		in, want [][]Field // want nil: unchanged
	}{
		{"empty batch", nil, nil},
		{"unchanged", [][]Field{other, User("2", "")}, nil},
		{"hidden", [][]Field{other, User("hide", "x"), other}, [][]Field{other, {}, other}},
		{"changed", [][]Field{User("mask", "a@b"), other}, [][]Field{User("mask", "***"), other}},
		{"renamed", [][]Field{User("rename", "a@b")}, [][]Field{{{"id", 1, "rename"}, {"mail", 1, "a@b"}}}},
		{"removed", [][]Field{User("remove", "a@b")}, [][]Field{{{"id", 1, "remove"}}}},
		{
			"JSON added",
			[][]Field{{{"id", 1, "add"}, {"ü", 2, `{"a":1}`}}},
			[][]Field{{{"id", 1, "add"}, {"ü", 2, `{"a":1}`}, {"level", 2, "[3,null]"}}},
		},
		{"renamed over another", [][]Field{User("swap", "a@b")}, [][]Field{{{"id", 1, "a@b"}}}},
		{"no key at all", [][]Field{{}, User("mask", "")}, [][]Field{{}, User("mask", "***")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := g.Slice("rollcall_members", Batch(c.in...), 1)
			if err != nil {
				t.Fatal(err, g.Logs)
			}
			if c.want == nil && got != nil || c.want != nil && !bytes.Equal(got, Batch(c.want...)) {
				t.Errorf("got %q, want %q", got, Batch(c.want...))
			}
		})
	}
}

// live checks the marker, and that a guest is told what shows a user and all that is known of it.
func live(t *testing.T, file []byte) {
	if !slices.Contains(Exports(t, file), "rollcall_members_live") {
		t.Error("there is no marker")
	}
	g := Configured(t, file)
	for endpoint, batch := range map[uint64][]byte{
		1: Batch(User("tell", "a@b")),
		4: Batch(append(User("tell", "a@b"), Field{"info", 2, `{"n":"ü"}`}, Field{"status", 2, "[1]"})),
		5: Batch(append(User("tell", "a@b"), Field{"status", 2, "null"})),
	} {
		g.Logs = nil
		if got, err := g.Slice("rollcall_members", batch, endpoint); err != nil || got != nil {
			t.Errorf("endpoint %d: got %q, %v", endpoint, got, err)
		}
		want := map[uint64]string{1: "1 1||", 4: `1 4|{"n":"ü"}|[1]`, 5: "1 5||null"}[endpoint]
		if !slices.Equal(g.Logs, []string{want}) {
			t.Errorf("endpoint %d: log %q, want %q", endpoint, g.Logs, want)
		}
	}
}

func shape(t *testing.T, file []byte) {
	g := Configured(t, file)
	if got, err := g.Slice("rollcall_shape", []byte(`"unchanged"`), 1); err != nil || got != nil {
		t.Errorf("got %q, %v; want no change", got, err)
	}
	for endpoint := range uint64(7) {
		got, err := g.Slice("rollcall_shape", []byte(`"endpoint"`), endpoint)
		if want := fmt.Sprint(endpoint); err != nil || string(got) != want {
			t.Errorf("endpoint: got %q, %v; want %s", got, err, want)
		}
	}
	for _, length := range []int{0, 1, 511, 512, 513, 70_000} {
		g.Request = []byte(strings.Repeat("x", length))
		got, err := g.Slice("rollcall_shape", []byte(`"request"`), 1)
		if want := `"` + string(g.Request) + `"`; err != nil || string(got) != want {
			t.Errorf("a request body of %d bytes: got %d bytes, %v", length, len(got), err)
		}
	}
}

func jsonValues(t *testing.T, file []byte) {
	g := Configured(t, file)
	for in, want := range map[string]string{
		`null`: "", `true`: "", `false`: "", `0`: "", `-0.5e+10`: "", `1E-2`: "", `123456789012345678901234567890`: "",
		`""`: "", `"a \"quoted\" \\ text"`: "", `"\n\r\t\u0000\u001f` + "\x7f" + `"`: "", `"Grüße, 世界 🎉"`: "",
		`[]`: "", `{}`: "", `[1,[2,[]],{"b":1,"a":null}]`: "", `{"":{"":""}}`: "", `{"\n":1}`: "",
		" {\r\n\t\"a\" : [ 1 , 2 ] } ": `{"a":[1,2]}`,
		`"\/\b\f\u0041"`:               `"/\u0008\u000cA"`,
		`"\ud83c\udf89 \uD83C\uDF89"`:  `"🎉 🎉"`,
		`"x\ud83c"`:                    `"x` + "\ufffd" + `"`,
		`"\udf89x"`:                    `"` + "\ufffd" + `x"`,
		`"\ud83cA"`:                    `"` + "\ufffd" + `A"`,
		`"\ud83c\n"`:                   `"` + "\ufffd" + `\n"`,
		`"\ud83c\ud83c\udf89"`:         `"` + "\ufffd" + `🎉"`,
		`"ü\"ü"`:                       "",
		strings.Repeat("[", 64) + strings.Repeat("]", 64): "",
	} {
		if want == "" {
			want = in
		}
		got, err := g.Slice("rollcall_shape", []byte(in), 1)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", in, got, err, want)
		}
	}
	for in, log := range map[string]string{
		``: "byte 0: the text ends where a value", `nul`: "byte 0: no value starts", `truth`: "byte 0: no value starts",
		`[1`: "byte 2: a comma or the end of the array", `[1,]`: "byte 3: no value", `[1 2]`: "byte 3: a comma",
		`{`: "byte 1: a key", `{"a"}`: "byte 4: a colon", `{"a":1,}`: "byte 7: a key", `{a:1}`: "byte 1: a key",
		`{"a":1`: "byte 6: a comma or the end of the object", `01`: "byte 1: more after the value",
		`1.`: "byte 2: a digit", `-`: "byte 1: a digit", `1e`: "byte 2: a digit", `1e+`: "byte 3: a digit",
		`+1`: "byte 0: no value", `"a`: "byte 2: the text ends within", "\"a\nb\"": "byte 2: a control character",
		"\"\\n\nb\"": "byte 3: a control character", `"\n`: "byte 3: the text ends within",
		`"\x"`: "byte 2: an unknown escape", `"\`: "byte 2: an unknown escape", `"\u12g4"`: "byte 5: a hexadecimal",
		`"\ud83c\u12"`: "byte 11: a hexadecimal", `1 2`: "byte 2: more", `'a'`: "byte 0: no value",
		strings.Repeat("[", 65):          "byte 64: nested too deeply",
		strings.Repeat(`{"a":`, 100_000): "byte 320: nested too deeply",
	} {
		g := Configured(t, file) // a failed call ends an instance
		if got, err := g.Slice("rollcall_shape", []byte(in), 1); err == nil {
			t.Errorf("%.40s: got %s, want an error", in, got)
		}
		if len(g.Logs) != 1 || !strings.Contains(g.Logs[0], "JSON, "+log) {
			t.Errorf("%.40s: logged %q, want %q", in, g.Logs, log)
		}
	}
}

func failures(t *testing.T, file []byte) {
	request := Request{Version: 1, Kind: 1, Host: "h", Channel: "c"}
	good := request.Encode()
	users := Batch(User("1", "a@b"))
	for _, c := range []struct {
		name, export string
		input        []byte
		log          string
	}{
		{"a panic", "rollcall_classify", Request{Version: 1, Kind: 1, Channel: "fail"}.Encode(), "asked to fail"},
		{"half a header", "rollcall_classify", good[:15], "shorter than its header"},
		{"a cut request", "rollcall_authorize", good[:len(good)-1], "shorter than its lengths"},
		{"another version", "rollcall_classify", append([]byte{2}, good[1:]...), "a version other than 1"},
		{"another kind", "rollcall_classify", append([]byte{1, 3}, good[2:]...), "unknown kind"},
		{"a cut batch", "rollcall_members", users[:len(users)-1], "ends too early"},
		{"a cut length", "rollcall_members", append(users, 1, 2), "ends too early"},
		{"a cut record", "rollcall_members", Batch(User("1", ""))[:8], "ends too early"},
		{"an unknown type", "rollcall_members", Batch([]Field{{"id", 3, "1"}}), "unknown type"},
		{"a key that is too long", "rollcall_members", Batch(User("long", "")), "at most 255 bytes"},
		{"a request that is not there", "rollcall_shape", []byte(`"request"`), "only members and shape answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := Configured(t, file)
			var arguments []uint64
			if c.export == "rollcall_members" || c.export == "rollcall_shape" {
				arguments = []uint64{1}
			}
			if got, err := g.Call(c.export, c.input, arguments...); err == nil {
				t.Errorf("got %#x, want an error", got)
			}
			if len(g.Logs) != 1 || !strings.Contains(g.Logs[0], c.log) {
				t.Errorf("logged %q, want %q", g.Logs, c.log)
			}
		})
	}
}

// large checks that buffers grow, and that the buffers of the last call are reused.
func large(t *testing.T, file []byte) {
	g := Configured(t, file)
	for _, length := range []int{10, 100_000, 1000, 250_000} {
		in := `"` + strings.Repeat(`\u001fü`, length/8) + `"`
		if got, err := g.Slice("rollcall_shape", []byte(in), 1); err != nil || string(got) != in {
			t.Errorf("a text of %d bytes: got %d bytes, %v", len(in), len(got), err)
		}
	}
	batch := make([][]Field, 256)
	want := make([][]Field, 256)
	for i := range batch {
		batch[i] = User(fmt.Sprint(i), strings.Repeat("e", 200))
		want[i] = batch[i]
	}
	batch[200], want[200] = User("mask", "a@b"), User("mask", "***")
	if got, err := g.Slice("rollcall_members", Batch(batch...), 1); err != nil || !bytes.Equal(got, Batch(want...)) {
		t.Errorf("a batch of %d: got %d bytes, %v", len(batch), len(got), err)
	}
}
