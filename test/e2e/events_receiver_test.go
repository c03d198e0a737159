package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/webhooks"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

const (
	receiverAddress = "192.0.2.200"
	receiverSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// receiver is the one of docs/events.md, on a machine of its own at the core of the network, see
// package webhooks.
type receiver struct {
	machine, folder string
	cmd             *exec.Cmd
}

func newReceiver(t *testing.T, c *continents) *receiver {
	t.Helper()
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(page, []byte("```js\n"))
	code, _, ok := bytes.Cut(after, []byte("```\n"))
	if !ok {
		t.Fatal("docs/events.md has no receiver")
	}
	r := &receiver{machine: namespace(t, "receiver"), folder: t.TempDir()}
	mustRun(t, "ip", "-n", r.machine, "link", "add", "wire", "type", "veth", "peer", "name", "receiver", "netns", c.hub)
	mustRun(t, "ip", "-n", c.hub, "link", "set", "receiver", "master", "core", "up")
	mustRun(t, "ip", "-n", r.machine, "addr", "add", receiverAddress+"/24", "dev", "wire")
	mustRun(t, "ip", "-n", r.machine, "link", "set", "wire", "up")
	webhooks.Install(t, r.folder, code)
	r.start(t)
	t.Cleanup(r.kill)
	return r
}

func (r *receiver) start(t *testing.T) {
	t.Helper()
	r.cmd = exec.Command("ip", "netns", "exec", r.machine, "node", "receiver.mjs")
	r.cmd.Dir, r.cmd.Stderr = r.folder, os.Stderr
	r.cmd.Env = append(os.Environ(), "ROLLCALL_EVENTS_SECRET="+receiverSecret)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the receiver as a crash does.
func (r *receiver) kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill() // "ip netns exec" has become node
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

// options returns the option of a site that sends events to the receiver.
func (r *receiver) options() string {
	return "events http://" + receiverAddress + ":3000/ {\n\tsecret " + receiverSecret +
		"\n\ttypes channel.occupied channel.vacated member.joined member.left user.online user.offline\n}"
}

// known returns what the receiver knows, sorted.
func (r *receiver) known(t *testing.T) (keys []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.folder, "state.json"))
	if os.IsNotExist(err) {
		return nil
	}
	var shards map[string]struct{ Known map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &shards); err != nil {
		t.Fatalf("the state of the receiver is not whole: %v", err)
	}
	for _, s := range shards {
		for k := range s.Known {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// expect waits until the receiver knows this and nothing else, and checks that this stays so while
// nothing changes.
func (r *receiver) expect(t *testing.T, want []string) {
	t.Helper()
	ws.Poll(t, 4*ws.Patience, func() error {
		if got := r.known(t); !slices.Equal(got, want) {
			return difference(got, want)
		}
		return nil
	})
	const (
		still = 2500 * time.Millisecond
		every = 100 * time.Millisecond
	)
	for begin := time.Now(); time.Since(begin) < still; time.Sleep(every) {
		if got := r.known(t); !slices.Equal(got, want) {
			t.Fatalf("%s after it was right, although nothing has changed: %v", time.Since(begin), difference(got, want))
		}
	}
}
