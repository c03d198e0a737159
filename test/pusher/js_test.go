package pusher

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/test/internal/process"
)

// script is where JavaScript runs with pusher-js, Laravel Echo and testdata/clients.js: Node.js or
// a page in Chromium.
type script struct {
	t testing.TB
	// evaluate returns the value of an expression as JSON. Promises are awaited.
	evaluate func(expression string) (string, error)
}

func (s script) eval(expression string) string {
	s.t.Helper()
	value, err := s.evaluate(expression)
	if err != nil {
		s.t.Fatalf("%.200s: %v", expression, err)
	}
	return value
}

// run evaluates an expression whose value does not matter.
func (s script) run(expression string) {
	s.t.Helper()
	s.eval("(" + expression + ", null)")
}

// waitFor polls an expression until it is true. An exception counts as false.
func (s script) waitFor(what, expression string) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			value, err := s.evaluate(`report()`)
			s.t.Logf("waiting for %s: %s\nthe clients: %s (%v)", what, expression, value, err)
		}
	}()
	testkit.Eventually(s.t, what, func() bool {
		return s.eval(`(() => { try { return !!(`+expression+`) } catch { return false } })()`) == "true"
	})
}

// newNode starts Node.js until the test ends.
func newNode(t testing.TB) script {
	t.Helper()
	cmd := exec.Command("node", "--no-warnings", "--experimental-websocket", "testdata/node.cjs")
	cmd.Env = append(os.Environ(), "ROLLCALL_BROWSER_NPM="+filepath.Dir(packages(t, "ROLLCALL_BROWSER_NPM")))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said := new(process.Buffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Node.js said:\n%s", said.Tail(4<<10))
		}
	})
	answers := bufio.NewReader(out)
	return script{t, func(expression string) (string, error) {
		line, err := json.Marshal(expression)
		if err != nil {
			return "", err
		}
		if _, err := in.Write(append(line, '\n')); err != nil {
			return "", err
		}
		text, err := answers.ReadBytes('\n')
		if err != nil && err != io.EOF { //nolint:errorlint // of ReadBytes
			return "", err
		}
		var answer struct {
			Value json.RawMessage `json:"value"`
			Error string          `json:"error"`
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return "", fmt.Errorf("%w: %q", err, text)
		}
		if answer.Error != "" {
			return "", fmt.Errorf("%s", answer.Error)
		}
		return string(answer.Value), nil
	}}
}

// pusherOptions returns the options of pusher-js for a pod, with further ones, as JavaScript.
func pusherOptions(p *pod, more ...string) string {
	_, port, _ := net.SplitHostPort(p.address)
	options := fmt.Sprintf(`wsHost: "127.0.0.1", wsPort: %s, forceTLS: false, enabledTransports: ["ws"], cluster: "", enableStats: false`, port)
	for _, option := range more {
		options += ", " + option
	}
	return fmt.Sprintf(`{key: %q, secret: %q, id: %q, %s}`, portal.Key, portal.Secret, portal.ID, options)
}
