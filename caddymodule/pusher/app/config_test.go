package app

import "testing"

func TestLookups(t *testing.T) {
	c, a := config()
	other := &c.Apps[1]
	for _, test := range []struct {
		name string
		got  *App
		want *App
	}{
		{"the first key", c.ByKey("new-key"), a},
		{"a key that is being rotated", c.ByKey(vectorKey), a},
		{"the key of another app", c.ByKey("other-key"), other},
		{"an unknown key", c.ByKey("unknown"), nil},
		{"no key", c.ByKey(""), nil},
		{"an ID", c.ByID("3"), a},
		{"another ID", c.ByID("4"), other},
		{"an unknown ID", c.ByID("5"), nil},
		{"a key as an ID", c.ByID(vectorKey), nil},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %v", test.name, test.got)
		}
	}
}
