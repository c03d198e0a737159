package caddymodule

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const backendSecret = "canary-secret-of-a-backend"

func TestBackendSettingsRefuse(t *testing.T) {
	const url = "https://app.example.com/rollcall"
	t.Setenv("ROLLCALL_TEST_SHORT", "canary-15-chars")
	for _, test := range []struct {
		name string
		b    Backend
		want string
	}{
		{"nothing", Backend{}, "the URL is empty"},
		{"no scheme", Backend{URL: "canary.example.com/rollcall"}, "write a URL like https://app.example.com/rollcall"},
		{"other scheme", Backend{URL: "ftp://canary.example.com"}, "write a URL like"},
		{"no host", Backend{URL: "https:///canary"}, "write a URL like"},
		{"fragment", Backend{URL: url + "#canary"}, "write a URL like"},
		{"unknown placeholder", Backend{URL: "https://{canary}/"}, "the URL has a placeholder that is not known"},
		{"no secret", Backend{URL: url}, `no secret: make one with echo "whsec_$(openssl rand -base64 32)"`},
		{"empty secret", Backend{URL: url, Secret: []string{"{env.ROLLCALL_NO_SUCH}"}}, "secret: number 1 is empty: is its environment variable set?"},
		{"short secret", Backend{URL: url, Secret: []string{backendSecret, "{env.ROLLCALL_TEST_SHORT}"}}, "secret: number 2 has less than 16 bytes: make one"},
		{"bad base64", Backend{URL: url, Secret: []string{"whsec_canary!"}}, "secret: number 1 is not base64 after whsec_"},
		{"negative timeout", Backend{URL: url, Secret: []string{backendSecret}, Timeout: -1}, "use a duration up to 1m0s"},
		{"long timeout", Backend{URL: url, Secret: []string{backendSecret}, Timeout: caddy.Duration(time.Hour)}, "timeout 1h0m0s: use a duration up to 1m0s"},
		{"small queue", Backend{URL: url, Secret: []string{backendSecret}, Queue: 1}, "queue: use a size from 64KiB to 1GiB"},
		{"large queue", Backend{URL: url, Secret: []string{backendSecret}, Queue: 2 << 30}, "queue: use a size from 64KiB to 1GiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.b.endpoint(zap.NewNop())
			mustRefuse(t, err, "backend: ", test.want)
		})
	}
}

func TestBackendSettings(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_BACKEND", "http://127.0.0.1:9/path?a=b")
	b := Backend{URL: "{env.ROLLCALL_TEST_BACKEND}", Secret: []string{backendSecret, "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="}}
	to, err := b.endpoint(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if to.URL != "http://127.0.0.1:9/path?a=b" || to.Timeout != 10*time.Second || to.Queue != 64<<20 {
		t.Errorf("got %+v", to)
	}
	if len(to.Secrets) != 2 || string(to.Secrets[0]) != backendSecret || string(to.Secrets[1]) != "0123456789abcdef" {
		t.Errorf("the secrets are %q", to.Secrets)
	}
}

func TestBackendWithoutEncryptionIsWarnedOfOnPublicNetworks(t *testing.T) {
	for url, warned := range map[string]bool{
		"https://app.example.com": false, "http://app.example.com": true, "http://203.0.113.7": true,
		"http://localhost:3000": false, "http://app.localhost": false, "http://127.0.0.1": false, "http://[::1]:80": false,
		"http://10.1.2.3": false, "http://[fd00::1]": false, "http://app": false, "http://app.internal.": false,
		"http://app.local": false, "http://local.example.com": true,
	} {
		core, logs := observer.New(zapcore.WarnLevel)
		if _, err := (&Backend{URL: url, Secret: []string{backendSecret}}).endpoint(zap.New(core)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if got := logs.Len() > 0; got != warned {
			t.Errorf("%s: warned %t, want %t", url, got, warned)
		}
	}
}
