package caddymodule

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestAuthorizeSettingsRefuse(t *testing.T) {
	const url = "https://app.example.com/may-join"
	secret := []string{backendSecret}
	for _, test := range []struct {
		name string
		a    Authorize
		want string
	}{
		{"nothing", Authorize{}, "the URL is empty"},
		{"no scheme", Authorize{URL: "canary.example.com/rollcall", Secret: secret}, "write a URL like https://"},
		{"of a request", Authorize{URL: "https://{http.request.host}/canary", Secret: secret}, "the URL has {http.request.host}, which only a request has"},
		{"no secret", Authorize{URL: url}, "no secret: make one with"},
		{"short secret", Authorize{URL: url, Secret: []string{"canary-15-chars"}}, "secret: number 1 has less than 16 bytes"},
		{"public secret", Authorize{URL: url, Secret: []string{"https://canary.example.com"}}, "secret: number 1 is a URL, not a secret"},
		{"negative timeout", Authorize{URL: url, Secret: secret, Timeout: -1}, "use a duration up to 30s"},
		{"long timeout", Authorize{URL: url, Secret: secret, Timeout: caddy.Duration(time.Hour)}, "timeout 1h0m0s: use a duration up to 30s"},
		{"short cache", Authorize{URL: url, Secret: secret, Cache: caddy.Duration(time.Millisecond)}, "cache 1ms: use a duration from 1s to 1h0m0s"},
		{"long cache", Authorize{URL: url, Secret: secret, Cache: caddy.Duration(2 * time.Hour)}, "cache 2h0m0s: use a duration from 1s to 1h0m0s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.a.endpoint(zap.NewNop())
			mustRefuse(t, err, "authorize: ", test.want)
		})
	}
}

func TestAuthorizeSettings(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_AUTHORIZE", "http://app.example.com/path?a=b")
	core, logs := observer.New(zapcore.WarnLevel)
	a := Authorize{URL: "{env.ROLLCALL_TEST_AUTHORIZE}", Secret: []string{backendSecret, "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="}}
	to, err := a.endpoint(zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	if to.URL != "http://app.example.com/path?a=b" || to.Timeout != 2*time.Second || to.Cache != 30*time.Second || len(to.Secrets) != 2 {
		t.Errorf("got %+v", to)
	}
	if got := logs.All(); len(got) != 1 || got[0].Message != "authorize asks the backend without encryption: use https" {
		t.Errorf("logged %v", got)
	}
}
