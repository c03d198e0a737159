package sdk

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestKeep(t *testing.T) {
	const file = `first
	// [hook classify]
	a
// [end]
 * [hook members message]
b
 * [end]
//! [hook shape]
c
//! [end]
<!-- [hook message] -->
d
<!-- [end] -->
//		# [hook classify shape]
e
# [end]
/* [hook connect] */
f
/* [end] */
a line about [end] and // [hook x] in it
last
`
	const common = "a line about [end] and // [hook x] in it\nlast\n"
	for hooks, want := range map[string]string{
		"classify":         "first\n\ta\ne\n" + common,
		"members":          "first\nb\n" + common,
		"message":          "first\nb\nd\n" + common,
		"shape,connect":    "first\nc\ne\nf\n" + common,
		"classify,message": "first\n\ta\nb\nd\ne\n" + common,
	} {
		if got, err := keep([]byte(file), strings.Split(hooks, ",")); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", hooks, got, err, want)
		}
	}
	for name, bad := range map[string]string{
		"open":   "// [hook shape]\n",
		"nested": "// [hook shape]\n// [hook members]\n// [end]\n",
		"ended":  "// [end]\n",
	} {
		if got, err := keep([]byte(bad), DefaultHooks); err == nil {
			t.Errorf("%s: got %q, want an error", name, got)
		}
	}
}

func TestCasesAreForTheChosenHooks(t *testing.T) {
	for _, hook := range Hooks {
		raw, err := cases([]string{hook})
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Config map[string]any
			Cases  []struct{ Hook string }
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatalf("%s: %v\n%s", hook, err, raw)
		}
		if len(file.Config) == 0 || len(file.Cases) == 0 {
			t.Errorf("%s has no option or no case: %s", hook, raw)
		}
		for _, c := range file.Cases {
			if c.Hook != hook {
				t.Errorf("a project with %s has a case for %s", hook, c.Hook)
			}
		}
	}
}

func TestNewRefusesHooks(t *testing.T) {
	err := New("c", t.TempDir(), "my-plugin", "members", "members_live")
	if err == nil || !strings.Contains(err.Error(), `hook "members_live" is not known: want some of `+strings.Join(Hooks, ", ")) {
		t.Errorf("got %v", err)
	}
}
