package bus

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

// fields returns the texts of a line of the log.
func fields(e observer.LoggedEntry) []string {
	var texts []string
	for _, v := range e.ContextMap() {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}

// dialed sends text to the port and returns what came until the other side closed the connection.
func dialed(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // the other side did it
	if err := c.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(c).Peek(1); err != nil && err != io.EOF {
		t.Logf("no greeting: %v", err)
	}
	_, _ = io.WriteString(c, text) // it can be closed in between
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is open still, got %q", got)
	}
	return string(got)
}

// What a stranger can do on the port for routes is to be refused, while the pods go on.
func TestOutsidersAreRefused(t *testing.T) {
	const connect = `CONNECT {"name":"x","cluster":"rollcall","user":"rollcall","pass":%q,"verbose":false}` + "\r\n"
	const info = `INFO {"server_id":"x","server_name":"x","cluster":"rollcall","host":"127.0.0.1","port":1,"ip":%q}` + "\r\n"
	const sub = "RS+ $G s\r\nPING\r\n"
	for name, test := range map[string]struct {
		text   string
		logged string
	}{
		"no password":      {strings.ReplaceAll(connect, "%q", `""`) + sub, "authentication error"},
		"wrong password":   {fmt.Sprintf(connect, "wrong") + fmt.Sprintf(info, "") + sub, "authentication error"},
		"secret itself":    {fmt.Sprintf(connect, testSecret) + sub, "authentication error"},
		"info first":       {fmt.Sprintf(info, "nats-route://192.0.2.1:1") + sub, "authentication error"},
		"subscription":     {sub, "authentication error"},
		"garbage":          {"\x00\x01\x02\xff\xfe garbage\r\n\r\n", "authentication error"},
		"http":             {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "authentication error"},
		"tls":              {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "authentication error"},
		"client":           {`CONNECT {"lang":"go","version":"1","verbose":false}` + "\r\n" + sub, "authentication error"},
		"huge info":        {"INFO {" + strings.Repeat("x", 1<<20), "authentication error"},
		"huge connect":     {"CONNECT {" + strings.Repeat("x", 1<<20), "aximum control line"},
		"connect not json": {"CONNECT {{{{\r\n", ""},
		"gateway":          {`CONNECT {"gateway":"x","name":"x"}` + "\r\n", ""},
		"nothing":          {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			a := open(t, Config{Name: "a", Listen: "127.0.0.1:0", Secret: testSecret, Logger: zap.New(core)})
			b := pod(t, "b", a.State().Listen)
			in := subscribe(t, a, "s")
			reaches(t, b, "s", in, "before")
			got := dialed(t, a.State().Listen, test.text)
			if strings.Contains(got, "before") || strings.Contains(got, "RMSG") || strings.Contains(got, "PONG") {
				t.Errorf("got %q", got)
			}
			if test.logged != "" {
				testkit.Eventually(t, "log", func() bool { return logs.FilterMessageSnippet(test.logged).Len() > 0 })
				if a.State().Errors == 0 {
					t.Error("not counted")
				}
			}
			for _, e := range logs.All() {
				if strings.Contains(e.Message, testSecret) {
					t.Error("the secret is in the log")
				}
			}
			reaches(t, b, "s", in, "after")
			if n := len(a.State().Routes); n != 1 {
				t.Errorf("%d routes", n)
			}
		})
	}
}

func TestWithoutTheSecretNobodyJoins(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	a := open(t, Config{Name: "a", Listen: "127.0.0.1:0", Secret: testSecret, Logger: zap.New(core)})
	stranger := open(t, Config{Name: "b", Listen: "127.0.0.1:0", Routes: []string{a.State().Listen}, Secret: "another"})
	in := subscribe(t, stranger, "s")
	testkit.Eventually(t, "refusals", func() bool { return a.State().Errors >= 2 })
	if err := a.Publish("s", []byte("for pods only")); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	refused := a.State().Errors
	testkit.Eventually(t, "another refusal", func() bool { return a.State().Errors > refused })
	if got := in.all(); len(got) != 0 || len(a.State().Routes) != 0 {
		t.Errorf("a stranger got %q, routes %v", got, a.State().Routes)
	}
	if n := logs.FilterMessageSnippet("authentication error").Len(); n == 0 || n > 2 {
		t.Errorf("logged %d times", n)
	}
}

func TestWithoutACertificateNobodyJoins(t *testing.T) {
	authority := newAuthority(t)
	core, logs := observer.New(zap.WarnLevel)
	a := open(t, Config{Name: "a", Listen: "127.0.0.1:0", RouteTLS: authority.pod(t), Secret: testSecret, Logger: zap.New(core)})
	b := open(t, Config{Name: "b", Listen: "127.0.0.1:0", RouteTLS: authority.pod(t), Secret: testSecret, Routes: []string{a.State().Listen}})
	in := subscribe(t, a, "s")
	reaches(t, b, "s", in, "before")
	for name, cfg := range map[string]Config{
		"no tls":            {Secret: testSecret},
		"another authority": {Secret: testSecret, RouteTLS: newAuthority(t).pod(t)},
		"no secret":         {RouteTLS: authority.pod(t)},
		"another secret":    {RouteTLS: authority.pod(t), Secret: "another"},
	} {
		t.Run(name, func(t *testing.T) {
			before := a.State().Errors
			cfg.Name, cfg.Listen, cfg.Routes = "stranger", "127.0.0.1:0", []string{a.State().Listen}
			stranger := open(t, cfg)
			testkit.Eventually(t, "refusals", func() bool { return a.State().Errors >= before+2 })
			if r := a.State().Routes; len(r) != 1 || r[0].Name != "b" {
				t.Errorf("routes %v", r)
			}
			stranger.Close()
		})
	}
	bare := &tls.Config{RootCAs: authority.pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if c, err := tls.Dial("tcp", a.State().Listen, bare); err == nil {
		// With TLS 1.3 the client hears of the refusal when it reads.
		if err := c.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("got %d bytes without a certificate", n)
		}
		_ = c.Close() // it was refused
	}
	if logs.Len() == 0 {
		t.Error("nothing was logged")
	}
	reaches(t, b, "s", in, "after")
}

func TestLogIsLimited(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	l := newServerLog(settings{logger: zap.New(core), hide: hide([]string{"hunter2"})})
	for i := range 100 {
		l.Errorf("attempt %d with hunter2", i)
	}
	if n := logs.Len(); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if m := logs.All()[0].Message; m != "attempt 0 with [hidden]" {
		t.Errorf("logged %q", m)
	}
	for i := range 100 {
		l.Warnf("%s\xff", strings.Repeat("x", 1000+i*2)+strings.Repeat("y", i))
		l.Warnf("%s", strings.Repeat("z", i))
	}
	if n := logs.Len(); n > logLimit {
		t.Errorf("logged %d lines", n)
	}
	for _, e := range logs.All() {
		if len(e.Message) > maxLogBytes {
			t.Errorf("a line of %d bytes", len(e.Message))
		}
	}
	if n := l.errors.Load(); n != 100 {
		t.Errorf("counted %d errors", n)
	}
	l.Noticef("a notice")
	if e := logs.FilterMessage("a notice").All(); len(e) != 1 || e[0].Level != zapcore.DebugLevel {
		t.Errorf("logged %v", e)
	}

	limit := newLimiter()
	start := time.Unix(1000, 0)
	for i, want := range []bool{true, false, false} {
		if ok, _ := limit.allow("line", start.Add(time.Duration(i)*time.Second)); ok != want {
			t.Errorf("line %d: %v", i, ok)
		}
	}
	if ok, n := limit.allow("line", start.Add(logWindow)); !ok || n != 2 {
		t.Errorf("after the window: %v, %d not logged", ok, n)
	}
}

func TestFatalIsAnErrorOfTheStart(t *testing.T) {
	l := newServerLog(settings{logger: zap.NewNop(), hide: hide(nil)})
	l.Fatalf("Error listening on port: %s, %q", noClientsAddress, io.EOF)
	l.Fatalf("first %v", io.ErrUnexpectedEOF)
	l.Fatalf("second %v", io.EOF)
	if err := <-l.fatal; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}
