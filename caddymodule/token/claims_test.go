package token

import (
	"strings"
	"testing"
	"time"
)

const hs256 = `{"alg":"HS256"}`

func TestVerifyIDClaim(t *testing.T) {
	v := mustNew(t, Config{Secret: testSecret})
	tests := []struct {
		name, sub string // sub is JSON
		want      string // "" if refused
	}{
		{"string", `"USER_1"`, "USER_1"},
		{"string with spaces and signs", `"a b|c/d"`, "a b|c/d"},
		{"beyond ASCII", `"Zoë 雪 👩‍💻"`, "Zoë 雪 👩‍💻"},
		{"surrogate pair", `"\ud83d\ude00"`, "😀"},
		{"256 bytes", `"` + strings.Repeat("a", 256) + `"`, strings.Repeat("a", 256)},
		{"257 bytes", `"` + strings.Repeat("a", 257) + `"`, ""},
		{"257 bytes in 129 characters", `"a` + strings.Repeat("é", 128) + `"`, ""},
		{"empty", `""`, ""},
		{"null", `null`, ""},
		{"true", `true`, ""},
		{"list", `["a"]`, ""},
		{"object", `{"id":"a"}`, ""},
		{"NUL", `"a\u0000b"`, ""},
		{"line break", `"a\nb"`, ""},
		{"DEL", `"a\u007fb"`, ""},
		{"C1 control", `"a\u0085b"`, ""},
		{"lone surrogate", `"a\ud800"`, ""},
		{"replacement character", `"a�"`, ""},
		{"number", `7`, "7"},
		{"zero", `0`, "0"},
		{"minus zero", `-0`, "0"},
		{"negative number", `-7`, "-7"},
		{"beyond 2^53", `9007199254740993`, "9007199254740993"},
		{"beyond 2^64", `18446744073709551617`, "18446744073709551617"},
		{"whole fraction", `7.00`, "7"},
		{"whole exponent", `12e3`, "12000"},
		{"negative exponent", `7000E-3`, "7"},
		{"fraction", `7.5`, ""},
		{"close to whole", `1.00000000000000000000001`, ""},
		{"huge exponent", `1e999999999`, ""},
		{"tiny exponent", `1e-999999999`, ""},
		{"exponent out of range", `1e99999999999999999999`, ""},
		{"256 digits by exponent", `1e255`, "1" + strings.Repeat("0", 255)},
		{"257 digits by exponent", `1e256`, ""},
		{"257 digits", strings.Repeat("1", 257), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := signPayload(t, hs256, `{"sub":`+tt.sub+`}`)
			if tt.want == "" {
				text := mustRefuse(t, v, raw, ErrInvalid)
				if !strings.Contains(text, "the id claim") {
					t.Errorf("the error does not name the id claim: %s", text)
				}
				return
			}
			if got := mustVerify(t, v, raw).ID; got != tt.want {
				t.Errorf("ID = %q, want %q", got, tt.want)
			}
		})
	}
	mustRefuse(t, v, signPayload(t, hs256, `{}`), ErrInvalid)
}

// claimCase is a claim other than the ID.
type claimCase struct {
	name, claim string // claim is JSON; "" if absent
	want        string
	ok          bool
}

// testClaim verifies tokens with a claim. A refusal must have the text.
func testClaim(t *testing.T, key, refusal string, cases []claimCase, value func(Identity) string) {
	t.Helper()
	v := mustNew(t, Config{Secret: testSecret})
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			payload := `{"sub":"u"}`
			if tt.claim != "" {
				payload = `{"sub":"u","` + key + `":` + tt.claim + `}`
			}
			raw := signPayload(t, hs256, payload)
			if !tt.ok {
				if text := mustRefuse(t, v, raw, ErrInvalid); !strings.Contains(text, refusal) {
					t.Errorf("the error is %s, want %s", text, refusal)
				}
				return
			}
			if got := value(mustVerify(t, v, raw)); got != tt.want {
				t.Errorf("%s = %q, want %q", key, got, tt.want)
			}
		})
	}
}

func TestVerifyEmailClaim(t *testing.T) {
	testClaim(t, "email", "the e-mail claim", []claimCase{
		{"none", ``, "", true},
		{"null", `null`, "", true},
		{"empty", `""`, "", true},
		{"address", `"zoë@example.com"`, "zoë@example.com", true},
		{"320 bytes", `"` + strings.Repeat("a", 320) + `"`, strings.Repeat("a", 320), true},
		{"321 bytes", `"` + strings.Repeat("a", 321) + `"`, "", false},
		{"line break", `"a@b.c\r\nX: y"`, "", false},
		{"lone surrogate", `"\udc00@example.com"`, "", false},
		{"number", `7`, "", false},
		{"list", `["a@example.com"]`, "", false},
	}, func(who Identity) string { return who.Email })
}

func TestVerifyInfoClaim(t *testing.T) {
	testClaim(t, "info", "the info claim is longer than 2048 bytes", []claimCase{
		{"none", ``, "", true},
		{"null", `null`, "", true},
		{"text", `"Ann"`, "", true},
		{"list", `[{"a":1}]`, "", true},
		{"empty", `{}`, `{}`, true},
		{"object", `{ "name" : "Zoë <a&b>", "level": 1e3 , "big":12345678901234567890}`, `{"big":12345678901234567890,"level":1e3,"name":"Zoë <a&b>"}`, true},
		{"2048 bytes", `{"a":"` + strings.Repeat("x", 2040) + `"}`, `{"a":"` + strings.Repeat("x", 2040) + `"}`, true},
		{"2049 bytes", `{"a":"` + strings.Repeat("x", 2041) + `"}`, "", false},
	}, func(who Identity) string { return who.Info })
}

func TestVerifyTakesConfiguredClaims(t *testing.T) {
	v := mustNew(t, Config{Secret: testSecret, IDClaim: "https://app.example/uid", EmailClaim: "mail", InfoClaim: "profile"})
	raw := signPayload(t, hs256, `{"sub":"s","email":"e","https://app.example/uid":42,"mail":"m","info":{"a":1},"profile":{"b":2}}`)
	if got, want := mustVerify(t, v, raw), (Identity{ID: "42", Email: "m", Info: `{"b":2}`, Issued: NotIssued}); got != want {
		t.Errorf("Verify = %+v, want %+v", got, want)
	}
	mustRefuse(t, v, signPayload(t, hs256, `{"sub":"s","mail":"m"}`), ErrInvalid)
}

func TestVerifyExpires(t *testing.T) {
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	for name, leeway := range map[string]time.Duration{
		"default leeway": 0,
		"no leeway":      -1,
		"a minute":       time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			v := mustNew(t, Config{Secret: testSecret, Leeway: leeway})
			who := mustVerify(t, v, sign(t, "HS256", testSecret, goodClaims(fields{"exp": exp.Unix()}), nil))
			if !who.Expires.Equal(exp) {
				t.Errorf("Expires = %v, want %v", who.Expires, exp)
			}
			who = mustVerify(t, v, sign(t, "HS256", testSecret, goodClaims(fields{"exp": nil}), nil))
			if !who.Expires.IsZero() {
				t.Errorf("Expires = %v without exp, want zero", who.Expires)
			}
		})
	}
}

func TestVerifyRefusesWhatIsNoDate(t *testing.T) {
	v := mustNew(t, Config{Secret: testSecret})
	dates := map[string]string{
		"string":          `"4102444800"`,
		"null":            `null`,
		"true":            `true`,
		"list":            `[4102444800]`,
		"milliseconds":    `4102444800000`,
		"negative":        `-1`,
		"beyond int64":    `9223372036854775808`,
		"largest int64":   `9223372036854775807`,
		"float overflow":  `1e400`,
		"float underflow": `-1e400`,
	}
	for name, date := range dates {
		for _, claim := range []string{"exp", "nbf", "iat"} {
			t.Run(claim+"/"+name, func(t *testing.T) {
				mustRefuse(t, v, signPayload(t, hs256, `{"sub":"u","`+claim+`":`+date+`}`), ErrInvalid)
			})
		}
	}
	mustRefuse(t, v, signPayload(t, hs256, `{"sub":"u","exp":0}`), ErrExpired)
	mustVerify(t, v, signPayload(t, hs256, `{"sub":"u","exp":4102444800.75,"nbf":0,"iat":1e9}`))
}

func TestVerifyIssued(t *testing.T) {
	v := mustNew(t, Config{Secret: testSecret})
	for payload, want := range map[string]int64{
		`{"sub":"a"}`: NotIssued, `{"sub":"a","iat":0}`: NotIssued, `{"sub":"a","iat":0.9}`: NotIssued,
		`{"sub":"a","iat":1}`: 1, `{"sub":"a","iat":1600000000.999}`: 1600000000, `{"sub":"a","iat":1.6e9}`: 1600000000,
	} {
		if got := mustVerify(t, v, signPayload(t, hs256, payload)).Issued; got != want {
			t.Errorf("%s: issued %d, want %d", payload, got, want)
		}
	}
}
