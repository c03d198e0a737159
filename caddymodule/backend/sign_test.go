package backend

import (
	"strings"
	"testing"
	"time"
)

// The values come from the Standard Webhooks libraries.
func TestSignatureIsThatOfStandardWebhooks(t *testing.T) {
	secret, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	const id, payload = "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	got := signature([]Secret{secret}, id, time.Unix(1614265330, 0), []byte(payload))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSignatureHasOneForEachSecret(t *testing.T) {
	now, old := Secret("the secret of now"), Secret("the secret of before")
	at := time.Unix(1, 0)
	got := signature([]Secret{now, old}, "id", at, []byte("body"))
	want := signature([]Secret{now}, "id", at, []byte("body")) + " " + signature([]Secret{old}, "id", at, []byte("body"))
	if got != want || strings.Count(got, "v1,") != 2 {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseSecret(t *testing.T) {
	for _, test := range []struct{ name, text, want, err string }{
		{"text", "0123456789abcdef", "0123456789abcdef", ""},
		{"base64", "whsec_MDEyMzQ1Njc4OWFiY2RlZg==", "0123456789abcdef", ""},
		{"short text", "0123456789abcde", "", "openssl rand -base64 32"},
		{"short base64", "whsec_MDEyMzQ1Njc4OWFiY2Rl", "", "less than 16 bytes"},
		{"no base64", "whsec_0123456789abcdef!", "", "not base64"},
		{"empty", "", "", "less than 16 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseSecret(test.text)
			if string(got) != test.want || (err == nil) != (test.err == "") {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "0123")) {
				t.Errorf("the error is %q", err)
			}
		})
	}
}
