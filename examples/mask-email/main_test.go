package main

import (
	"strings"
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
)

// setUp configures the plugin with options, as Rollcall does.
func setUp(options string) error {
	c, err := rollcall.ParseConfig([]byte(`{"host":"example.com","plugin":"mask-email","config":` + options + `}`))
	if err != nil {
		return err
	}
	if err := configure(c); err != nil {
		return err
	}
	return c.Err()
}

func TestMask(t *testing.T) {
	tests := map[string]struct{ options, email, want string }{
		"one letter stays":            {`{}`, "ada@example.com", "a***@example.com"},
		"two letters stay":            {`{"keep":"2"}`, "ada@example.com", "ad***@example.com"},
		"none stays":                  {`{"keep":"0"}`, "ada@example.com", "***@example.com"},
		"never all of them":           {`{"keep":"9"}`, "ada@example.com", "ad***@example.com"},
		"a single letter does not":    {`{}`, "a@example.com", "***@example.com"},
		"nothing before the @":        {`{}`, "@example.com", "***@example.com"},
		"letters outside of ASCII":    {`{"keep":"1"}`, "éva@example.com", "é***@example.com"},
		"two @":                       {`{}`, `"a@b"@example.com`, `"***@example.com`},
		"no address":                  {`{}`, "ada", "***"},
		"unknown":                     {`{}`, "", ""},
		"excepted":                    {`{"except":"example.com"}`, "ada@EXAMPLE.com", "ada@EXAMPLE.com"},
		"excepted, one of several":    {`{"except":["a.org","example.com"]}`, "ada@example.com", "ada@example.com"},
		"a subdomain is not excepted": {`{"except":"example.com"}`, "ada@x.example.com", "a***@x.example.com"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := setUp(tt.options); err != nil {
				t.Fatal(err)
			}
			m := members.New("u1", tt.email)
			mask(rollcall.Users, m)
			if got := m.Email(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	if err := setUp(`{"remove":true,"except":"example.org"}`); err != nil {
		t.Fatal(err)
	}
	for email, want := range map[string]bool{"ada@example.com": false, "": false, "grace@example.org": true} {
		m := members.New("u1", email)
		mask(rollcall.Users, m)
		if got := m.Has("email"); got != want {
			t.Errorf("%q is shown: %v", email, got)
		}
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for options, want := range map[string]string{
		`{"keep":"-1"}`:        "0 or more",
		`{"keep":"some"}`:      "whole number",
		`{"excpet":"a"}`:       `unknown option "excpet"`,
		`{"remove":"perhaps"}`: "on or off",
	} {
		if err := setUp(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", options, err, want)
		}
	}
}
