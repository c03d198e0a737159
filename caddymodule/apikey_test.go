package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func hashed(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func TestAPIKeys(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_HASH", "SHA256:"+hashed("a"))
	t.Setenv("ROLLCALL_TEST_KEY", "from {env.HOME} the environment")
	for _, test := range []struct {
		name       string
		configured []string
		allowed    []string
		refused    []string
	}{
		{"none opens to nobody", nil, nil, []string{"", "off", "a"}},
		{"off opens to everybody", []string{"off"}, []string{"", "off", "a"}, nil},
		{"one", []string{"abc"}, []string{"abc"}, []string{"", "ab", "abcd", "ABC", "abc "}},
		{"several, to be rotated", []string{"old", "new", "sha256:" + hashed("hashed")}, []string{"old", "new", "hashed"}, []string{"", "oldnew", "sha256:" + hashed("hashed")}},
		{"hash in upper case", []string{"sha256:" + strings.ToUpper(hashed("a"))}, []string{"a"}, []string{"b"}},
		{"hash whose name is in upper case", []string{"{env.ROLLCALL_TEST_HASH}"}, []string{"a"}, []string{"SHA256:" + hashed("a")}},
		{"key that begins like a hash", []string{"sha256", "sha256-a"}, []string{"sha256", "sha256-a"}, []string{"a"}},
		{"placeholder", []string{"{env.ROLLCALL_TEST_KEY}"}, []string{"from {env.HOME} the environment"}, []string{"{env.ROLLCALL_TEST_KEY}", ""}},
		{"hash of the empty key still opens to nobody without one", []string{"sha256:" + hashed("")}, nil, []string{""}},
		{"braces that are no placeholder", []string{"a{b", `\{c\}`}, []string{"a{b", "{c}"}, []string{"a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, err := parseAPIKeys(test.configured)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range test.allowed {
				if !keys.Allow(key) {
					t.Errorf("%q is refused", key)
				}
			}
			for _, key := range test.refused {
				if keys.Allow(key) {
					t.Errorf("%q is allowed", key)
				}
			}
		})
	}
}

func TestAPIKeysRefuseWhatCannotBeMeant(t *testing.T) {
	const canary = "c0ffee"
	t.Setenv("ROLLCALL_TEST_OFF", "off")
	for _, test := range []struct {
		name       string
		configured []string
		want       string
	}{
		{"off beside a key", []string{canary, "off"}, "off stands alone"},
		{"off from the environment", []string{"{env.ROLLCALL_TEST_OFF}"}, "number 1 is the word off"},
		{"off in upper case", []string{canary, "OFF"}, "number 2 is the word off"},
		{"empty", []string{canary, ""}, "number 2 is empty: is its environment variable set?"},
		{"environment variable that is not set", []string{"{env.ROLLCALL_NO_SUCH_KEY}"}, "number 1 is empty"},
		{"misspelt placeholder", []string{"{evn." + canary + "}"}, "number 1"},
		{"placeholder of requests", []string{canary, "{http.request.header.X}"}, "number 2"},
		{"no hash", []string{"sha256:"}, "64 hexadecimal digits"},
		{"short hash", []string{"sha256:" + canary}, "64 hexadecimal digits"},
		{"long hash", []string{"sha256:" + hashed("a") + canary}, "64 hexadecimal digits"},
		{"hash of other digits", []string{"sha256:" + strings.Repeat("x", 64)}, "64 hexadecimal digits"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseAPIKeys(test.configured)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error %q shows a part of a key", err)
			}
		})
	}
}
