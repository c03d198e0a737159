package caddymodule

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// crowd loads a site with users and returns the address of the admin endpoint.
func crowd(t *testing.T) string {
	t.Helper()
	c := offerAlone(t)
	h := c.handler(t)
	arrive(t, h, "portal.example.com", "ada", "ada@example.com", "salesRoom", "attic")
	arrive(t, h, "portal.example.com", "grace", "g@example.com", "salesRoom")
	arrive(t, h, "portal.example.com", "", "", "anonymousChat")
	return serveAdmin(t)
}

func TestOperatorCommands(t *testing.T) {
	address := crowd(t)
	for _, tt := range []struct {
		name string
		args []string
		want []string // texts of the output
		err  string   // text of the error; "" for none
	}{
		{"hosts", []string{"hosts"}, []string{
			"HOST                DATA CENTER  POD    CONNECTIONS  WITH USER  USERS  CHANNELS  HIDDEN\n" +
				"portal.example.com  us-east-1    web-1  3            2          2      3         0\n",
		}, ""},
		{"hosts as JSON", []string{"hosts", "--json"}, []string{`"host": "portal.example.com"`, `"connections": 3`}, ""},
		{"channels", []string{"channels", "portal.example.com"}, []string{
			"CHANNEL        KIND           COUNT\nanonymousChat  anonymous      1 connections\n" +
				"attic          authenticated  1 users\nsalesRoom      authenticated  2 users\n",
		}, ""},
		{"a page of channels", []string{"channels", "portal.example.com", "--limit", "1", "--after", "anonymousChat"}, []string{"attic", "\nmore: --after \"attic\"\n"}, ""},
		{"channels by prefix", []string{"channels", "portal.example.com", "--prefix", "sales", "--json"}, []string{`"channel": "salesRoom"`}, ""},
		{"channels of no host", []string{"channels"}, nil, "no host is given"},
		{"channels of another host", []string{"channels", "elsewhere.example"}, nil, "no site serves this host"},
		{"channels of two hosts", []string{"channels", "a.example", "b.example"}, nil, `"b.example" is not expected`},
		{"a page too large", []string{"channels", "portal.example.com", "--limit", "1001"}, nil, "limit: use a number from 1 to 1000"},
		{"users", []string{"users", "portal.example.com", "salesRoom"}, []string{"USER   SINCE", "\nada    ", "\ngrace  ", "us-east-1    web-1"}, ""},
		{"users of the host", []string{"users", "portal.example.com", "--limit", "1"}, []string{"\nada ", "more: --after \"ada\""}, ""},
		{"users of an anonymous channel", []string{"users", "portal.example.com", "anonymousChat"}, []string{"anonymous channel, 1 connections"}, ""},
		{"users of no channel", []string{"users", "portal.example.com", "nothing"}, nil, "no such channel is active"},
		{"users as JSON", []string{"users", "portal.example.com", "--json"}, []string{`"id": "ada"`, `"complete": true`}, ""},
		{"send", []string{"send", "portal.example.com", `{"a":1}`, "--channel", "salesRoom", "--user", "ada"}, []string{"the message is sent\n"}, ""},
		{"send nothing", []string{"send", "portal.example.com", "hello", "--channel", "salesRoom"}, nil, "no message is given"},
		{"send to nobody", []string{"send", "portal.example.com", "{}"}, nil, "channels must be an array"},
		{"disconnect", []string{"disconnect", "portal.example.com", "--user", "nobody", "--reason", "bye"}, []string{"disconnected: 0\n"}, ""},
		{"disconnect as JSON", []string{"disconnect", "portal.example.com", "--channel", "salesRoom", "--reconnect", "--json"}, []string{`"disconnected": `}, ""},
		{"disconnect nobody", []string{"disconnect", "portal.example.com"}, nil, "send exactly one of users, connections and channel"},
		{"watch", []string{"watch", "portal.example.com", "--for", "1ms", "--prefix", "a"}, []string{"  1 (+1)  anonymousChat\n", "  1 (+1)  attic\n"}, ""},
		{"watch as JSON", []string{"watch", "portal.example.com", "--for", "1ms", "--json"}, []string{`"channel":"salesRoom","kind":"authenticated","count":2,"before":0}` + "\n"}, ""},
		{"watch too often", []string{"watch", "portal.example.com", "--interval", "1ms"}, nil, "--interval: write a time from 100ms on"},
		{"watch another host", []string{"watch", "elsewhere.example"}, nil, "no site serves this host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := rollcall(append(tt.args, "--address", address)...)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("there is no %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, "@example.com") {
				t.Errorf("it shows an address:\n%s", out)
			}
		})
	}
}

// The shell completes hosts with those that have connections.
func TestHostsAreCompleted(t *testing.T) {
	address := crowd(t)
	for _, command := range []string{"channels", "users", "watch", "send", "disconnect"} {
		out, err := rollcall("__complete", command, "--address", address, "")
		if err != nil || !strings.HasPrefix(out, "portal.example.com\n:4\n") {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}

// An answer that may lack pods is printed, and has a status of its own.
func TestOperatorCommandsSayWhatIsMissing(t *testing.T) {
	c := mustLoad(t, clustered(overNATS))
	stand := &fakeCluster{name: "portals", clusterLog: &clusterLog{}, ready: true, truth: cluster.Truth{Missing: []string{"eu-west-1/web-9"}}}
	stage(t, c.app.hub, func(cluster.Config) (gateway.Pods, error) { return stand, nil })
	c.app.hub.Offer(c.snapshot())
	address := serveAdmin(t)
	for _, args := range [][]string{{"hosts"}, {"channels", "portal.example.com"}, {"users", "portal.example.com"}, {"disconnect", "portal.example.com", "--user", "ada"}, {"send", "portal.example.com", `{"text":"x"}`, "--user", "ada"}} {
		out, err := rollcall(append(args, "--address", address)...)
		if err == nil || err.Error() != "no answer from eu-west-1/web-9" || out == "" {
			t.Errorf("%q: error %v\n%s", args, err, out)
		}
	}
	stand.truth = cluster.Truth{}
	if _, err := rollcall("hosts", "--address", address); err == nil || err.Error() != "the other pods are not known yet" {
		t.Errorf("error %v", err)
	}
}

func TestTokenCommand(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(`http://portal.example.com {
	rollcall {
		api_key k
		jwt {
			key `+secret+`
			issuer https://issuer.example
			id_claim uid
			email_claim mail
		}
	}
}
http://bücher.example, http://*.kunden.bücher.example, http://{env.ROLLCALL_TEST_HOST} {
	rollcall {
		api_key k
		jwt {
			key `+secret+`
			issuer https://{host}
		}
	}
}
http://open.example.com {
	rollcall {
		api_key k
	}
}
http://keys.example.com {
	rollcall {
		api_key k
		jwt {
			jwks https://issuer.example/jwks.json
		}
	}
}
http://pem.example.com {
	rollcall {
		api_key k
		jwt {
			key /etc/issuer.pem
		}
	}
}
http://unset.example.com {
	rollcall {
		api_key k
		jwt {
			key {env.ROLLCALL_TEST_UNSET}
		}
	}
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	sign := func(host string, args ...string) (string, error) {
		return rollcall(append([]string{"token", "--config", file, "--adapter", "caddyfile", "--host", host, "--user", "ada"}, args...)...)
	}
	out, err := sign("portal.example.com", "--email", "ada@example.com", "--claims", `{"info":{"name":"Ada"},"uid":"root"}`)
	if err != nil {
		t.Fatal(err, out)
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(strings.TrimSpace(out), claims, func(*jwt.Token) (any, error) { return []byte(secret), nil }); err != nil {
		t.Fatal(err)
	}
	delete(claims, "exp")
	got, _ := json.Marshal(claims)
	if want := `{"info":{"name":"Ada"},"iss":"https://issuer.example","mail":"ada@example.com","uid":"ada"}`; string(got) != want {
		t.Errorf("claims %s, want %s", got, want)
	}
	// Hosts are compared in their canonical form, as those of requests are.
	t.Setenv("ROLLCALL_TEST_HOST", "named.example.com")
	for host, want := range map[string]string{
		"Portal.Example.com.:8080": "https://issuer.example", "BÜCHER.example": "https://xn--bcher-kva.example",
		"xn--bcher-kva.example": "https://xn--bcher-kva.example", "a.kunden.bücher.example.": "https://a.kunden.xn--bcher-kva.example",
		"named.example.com": "https://named.example.com",
	} {
		out, err := sign(host)
		claims := jwt.MapClaims{}
		if _, _, parsing := jwt.NewParser().ParseUnverified(strings.TrimSpace(out), claims); err != nil || parsing != nil || claims["iss"] != want {
			t.Errorf("%s: %v, %v, claims %v, want iss %s\n%s", host, err, parsing, claims, want, out)
		}
	}
	for host, want := range map[string]string{
		"open.example.com": "it has no jwt block", "elsewhere.example": "no site of elsewhere.example has a rollcall block",
		"keys.example.com": "verifies tokens with a public key: only the issuer can sign them",
		"pem.example.com":  "verifies tokens with a public key: only the issuer can sign them", "unset.example.com": "placeholder without a value",
	} {
		if out, err := sign(host); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(out+err.Error(), secret) {
			t.Errorf("%s: %v\n%s", host, err, out)
		}
	}
	for _, args := range [][]string{{"--claims", "1"}, {"--valid", "0s"}, {"--user", ""}} {
		if out, err := sign("portal.example.com", args...); err == nil {
			t.Errorf("%q: %s", args, out)
		}
	}
}

func TestConnectCommand(t *testing.T) {
	const site = "http://127.0.0.1 {\n\trollcall {\n\t\tjwt {\n\t\t\tkey 0123456789abcdef0123456789abcdef\n\t\t}\n\t\tapi_key k\n\t\tchannels {\n\t\t\tanonymous lobby\n\t\t}\n\t}\n}\n"
	server := listen(t, mustLoad(t, site).handler(t))
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := rollcall("token", "--config", file, "--adapter", "caddyfile", "--host", "127.0.0.1", "--user", "ada")
	if err != nil {
		t.Fatal(err)
	}
	const lines = "{\"type\":\"join\",\"id\":\"1\",\"channel\":\"salesRoom\"}\n\n{\"type\":\"ping\",\"id\":\"2\"}\n"
	for _, tt := range []struct {
		name  string
		input string
		args  []string
		want  []string
		err   string
	}{
		{"a user", lines, []string{server.URL, "--token", strings.TrimSpace(token), "--join", "lobby"}, []string{
			`"type":"welcome"`, `"user":{"id":"ada"`, `"channel":"lobby"`, `"type":"joined","id":"1","channel":"salesRoom"`, `{"type":"pong","id":"2"}`,
		}, ""},
		{"a visitor", lines, []string{"ws" + strings.TrimPrefix(server.URL, "http") + "/message/socket"}, []string{
			`"type":"welcome"`, `"code":"login_required"`, `{"type":"pong","id":"2"}`,
		}, ""},
		{"a bad token", "", []string{server.URL, "--token", "x.y.z"}, nil, "(bad_token)"},
		{"another origin", "", []string{server.URL, "--origin", "https://evil.example"}, nil, "4003 origin not allowed"},
		{"what is no websocket", "", []string{server.URL + "/elsewhere"}, nil, "418"},
		{"nobody", "", []string{"http://127.0.0.1:1"}, nil, "connecting to ws://127.0.0.1:1/message/socket: "},
		{"no URL", "", []string{"portal"}, nil, `"portal" is no URL of a site`},
		{"nothing", "", nil, nil, "no URL is given"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := &cobra.Command{SilenceUsage: true}
			caddycmd.Commands()["rollcall"].CobraFunc(cmd)
			var out bytes.Buffer
			cmd.SetIn(strings.NewReader(tt.input))
			cmd.SetOut(&out)
			cmd.SetErr(io.Discard)
			cmd.SetArgs(append([]string{"connect"}, tt.args...))
			err := cmd.Execute()
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("there is no %s in\n%s", want, out.String())
				}
			}
		})
	}
}
