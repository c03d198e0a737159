package rollcall

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, options string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(`{"host":"a.example","plugin":"test","config":` + options + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigTellsWhereItRuns(t *testing.T) {
	c := parse(t, `{}`)
	if c.Host != "a.example" || c.Plugin != "test" {
		t.Errorf("got %q and %q", c.Host, c.Plugin)
	}
}

func TestOptions(t *testing.T) {
	c := parse(t, `{"word":"a","words":["a","b"],"alone":true,"off":"off","number":"12","json":7,"block":{"inner":"x"}}`)
	checks := map[string]bool{
		"String":                  c.String("word", "") == "a",
		"String of a number":      c.String("json", "") == "7",
		"String that is missing":  c.String("none", "z") == "z",
		"Strings of one":          slices.Equal(c.Strings("word"), []string{"a"}),
		"Strings":                 slices.Equal(c.Strings("words"), []string{"a", "b"}),
		"Strings that is missing": slices.Equal(c.Strings("none", "y", "z"), []string{"y", "z"}),
		"Bool alone":              c.Bool("alone", false),
		"Bool off":                !c.Bool("off", true),
		"Bool that is missing":    c.Bool("none", true),
		"Int":                     c.Int("number", 0) == 12 && c.Int("json", 0) == 7,
		"Int that is missing":     c.Int("none", -1) == -1,
		"Has":                     c.Has("word") && !c.Has("none"),
		"Block":                   c.Block("block").String("inner", "") == "x",
		"Block, again":            c.Block("block").String("inner", "") == "x",
		"Block that is missing":   c.Block("none").String("inner", "z") == "z",
	}
	for name, ok := range checks {
		if !ok {
			t.Error(name)
		}
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	ask := func(c *Config) {
		c.String("word", "")
		c.Strings("words")
		c.Bool("flag", false)
		c.Int("number", 0)
		c.Block("block").String("inner", "")
	}
	tests := map[string]struct{ options, want string }{
		"unknown":           {`{"wrod":"a"}`, `config: unknown option "wrod"; known are "word", "words"`},
		"unknown, deeper":   {`{"block":{"iner":"a"}}`, `config: block: unknown option "iner"; known are "inner"`},
		"two for one":       {`{"word":["a","b"]}`, `config: word: want one value, got ["a","b"]`},
		"none for some":     {`{"words":true}`, `config: words: want one or more values, got true`},
		"a list in a list":  {`{"words":[["a"]]}`, `config: words: want words, got [["a"]]`},
		"not yes or no":     {`{"flag":"perhaps"}`, `config: flag: want nothing, on or off, got "perhaps"`},
		"not a number":      {`{"number":"ten"}`, `config: number: want a whole number, got "ten"`},
		"a word as a block": {`{"block":"a"}`, `config: block: want a block, got "a"`},
		"a block as a word": {`{"word":{"x":"y"}}`, `config: word: want one value, got {"x":"y"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := parse(t, tt.options)
			ask(c)
			if err := c.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestOptionsAsJSONAreAllKnown(t *testing.T) {
	c := parse(t, `{"any": {"thing": ["a"]}}`)
	if got := string(c.JSON()); got != `{"any": {"thing": ["a"]}}` {
		t.Errorf("got %s", got)
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestNamesOfOptions(t *testing.T) {
	c := parse(t, `{"b":"1","a":"2"}`)
	if got := c.Names(); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("got %q", got)
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestConfigure(t *testing.T) {
	t.Cleanup(func() { onConfigure = func(*Config) error { return nil } })
	const plain, option = `{"host":"a","plugin":"p","config":{}}`, `{"host":"a","plugin":"p","config":{"x":"1"}}`

	if err := configure([]byte(plain)); err != nil {
		t.Errorf("without a function and options: %v", err)
	}
	if err := configure([]byte(option)); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("an option that is never read: %v", err)
	}
	Configure(func(c *Config) error {
		c.String("x", "")
		return nil
	})
	if err := configure([]byte(option)); err != nil {
		t.Errorf("an option that is asked for: %v", err)
	}
	refused := errors.New("refused")
	Configure(func(*Config) error { return refused })
	if err := configure([]byte(plain)); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the function", err)
	}
	for _, bad := range []string{``, `{`, `[]`, `{"config":"x"}`, `{"config":[]}`} {
		if err := configure([]byte(bad)); err == nil || errors.Is(err, refused) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestRequestBodyOutsideOfRollcall(t *testing.T) {
	if b := RequestBody(); b != nil {
		t.Errorf("got %q", b)
	}
}
