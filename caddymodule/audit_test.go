package caddymodule

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// TestAuditRefuses covers what the command refuses before it connects, and where it says that it
// cannot connect.
func TestAuditRefuses(t *testing.T) {
	t.Setenv("ROLLCALL_AUDIT_SECRET", "a secret of the site for audits")
	t.Setenv("ROLLCALL_AUDIT_KEY", "a key of the site for audits")
	const pod = "--pod eu/a=http://127.0.0.1:1 --host audit.example.com --config Caddyfile"
	const site = "api_key {env.ROLLCALL_AUDIT_KEY}\njwt {\nkey {env.ROLLCALL_AUDIT_SECRET}\n}"
	for name, c := range map[string]struct{ args, options, want string }{
		"no pod":                      {"--host a --config Caddyfile", site, "a flag is missing"},
		"no host":                     {"--pod eu/a=http://127.0.0.1:1 --config Caddyfile", site, "a flag is missing"},
		"no config":                   {"--pod eu/a=http://127.0.0.1:1 --host a", site, "a flag is missing"},
		"a pod without an URL":        {strings.Replace(pod, "=http://127.0.0.1:1", "", 1), site, `--pod "eu/a": write DC/POD=URL`},
		"a pod without a data center": {strings.Replace(pod, "eu/a", "a", 1), site, "write DC/POD=URL"},
		"a pod with a path":           {strings.Replace(pod, ":1 ", ":1/message ", 1), site, "write DC/POD=URL"},
		"a pod twice":                 {pod + " --pod eu/a=http://127.0.0.1:2", site, "eu/a is there twice"},
		"too many users":              {pod + " --users 1001", site, "--users 1001: write 1 to 1000"},
		"no channels":                 {pod + " --channels 0", site, "--channels 0: write 1 to 100"},
		"a negative time":             {pod + " --duration -1s", site, "--duration -1s"},
		"no such file":                {strings.Replace(pod, "Caddyfile", "none", 1), site, "none: "},
		"another host":                {strings.Replace(pod, "audit.", "other.", 1), site, "no site of other.example.com has a rollcall block"},
		"no secret":                   {pod, "api_key k", "jwt has no key"},
		"an unset secret":             {pod, "api_key k\njwt {\nkey {env.ROLLCALL_NONE}\n}", "jwt: key has a placeholder without a value"},
		"a public key":                {pod, "api_key k\njwt {\nkey ./site.pem\n}", "jwt: key is not a secret"},
		"a hash of a key":             {pod, "api_key sha256:" + strings.Repeat("0", 64) + "\njwt {\nkey s\n}", "api_key has no key in the clear"},
		"no key":                      {pod, "jwt {\nkey s\n}", "api_key has no key in the clear"},
		"an argument":                 {pod + " now", site, `"now" is not expected`},
		"an address for metrics":      {pod + " --metrics nowhere", site, "--metrics: "},
		"a pod that is not there":     {pod, site, "eu/a: context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			text := "http://portal.example.com {\nrollcall\n}\nhttp://audit.example.com {\nrollcall {\n" + c.options + "\n}\n}\n"
			if err := os.WriteFile(filepath.Join(".", "Caddyfile"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := &cobra.Command{Use: "rollcall", SilenceUsage: true}
			caddycmd.Commands()["rollcall"].CobraFunc(cmd)
			cmd.SetArgs(append([]string{"audit"}, strings.Fields(c.args)...))
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			ctx, cancel := context.WithCancel(t.Context())
			if name == "a pod that is not there" {
				cancel()
			}
			defer cancel()
			err := cmd.ExecuteContext(ctx)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "a secret of the site") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}
