package docs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/events"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	told "github.com/rollcall-gateway/rollcall/presence/events"
	"github.com/rollcall-gateway/rollcall/test/internal/webhooks"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// receiver is the receiver of docs/events.md, see package webhooks.
type receiver struct {
	folder, address string
	cmd             *exec.Cmd
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	p := readPage(t, "docs/events.md")
	i := slices.IndexFunc(p.blocks, func(b block) bool { return b.lang == "js" })
	if i < 0 {
		t.Fatal("the page has no receiver")
	}
	lines := 0
	for line := range strings.SplitSeq(p.blocks[i].text, "\n") {
		if line != "" {
			lines++
		}
	}
	if lines > 35 {
		t.Errorf("the receiver has %d lines", lines)
	}
	r := &receiver{folder: t.TempDir(), address: freeAddr(t)}
	webhooks.Install(t, r.folder, []byte(p.blocks[i].text))
	r.start(t)
	t.Cleanup(func() { r.kill(t) })
	return r
}

func (r *receiver) start(t *testing.T) {
	t.Helper()
	r.cmd = exec.Command("node", "receiver.mjs")
	_, port, _ := strings.Cut(r.address, ":")
	r.cmd.Dir, r.cmd.Stderr = r.folder, os.Stderr
	r.cmd.Env = append(os.Environ(), "PORT="+port, "ROLLCALL_EVENTS_SECRET="+backendSecret)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ws.Poll(t, time.Minute, func() error { return responds("http://" + r.address) })
}

// kill ends the process as a crash does.
func (r *receiver) kill(t *testing.T) {
	t.Helper()
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

// known returns what the receiver knows, with the keys as it keeps them.
func (r *receiver) known(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.folder, "state.json"))
	if err != nil {
		return err.Error()
	}
	var shards map[string]struct{ Known map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &shards); err != nil {
		t.Fatalf("the state is not whole: %v", err)
	}
	var keys []string
	for _, s := range shards {
		for k := range s.Known {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// TestEventsReceiver sends events to the receiver of docs/events.md as a pod does, and kills it at
// random. A request whose signature is wrong would never be accepted.
func TestEventsReceiver(t *testing.T) {
	r := newReceiver(t)
	secret, err := backend.ParseSecret(backendSecret)
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + r.address
	to := &events.Receiver{
		Endpoint: &backend.Endpoint{URL: url, Secrets: []backend.Secret{backend.Secret("another secret, the first"), secret}, Timeout: 5 * time.Second, Queue: 1 << 20},
		ID:       backend.ReceiverOf(url), Number: "1", Types: events.AllTypes,
	}
	var restarted atomic.Int64
	sink := events.New(events.Config{
		Folder: t.TempDir(), Logger: zap.NewNop(),
		Receivers: func(presence.HostName) []*events.Receiver { return []*events.Receiver{to} },
		Wanted:    func() bool { return true },
		Restart:   func(presence.HostName, uint8) { restarted.Add(1) },
		Name:      func(presence.HostName, []presence.User) []string { return nil },
		Label:     presence.HostName.String,
	})
	defer sink.Close(zap.NewNop(), time.Now())
	host := testkit.MustHost(t, "portal.example.com")
	event := func(epoch uint64, of told.Type, channel string, users ...string) told.Event {
		e := told.Event{Type: of, Host: host, Shard: 3, Epoch: epoch, Channel: channel, Count: len(users), Time: time.Now().UnixMilli()}
		for _, id := range users {
			e.Records = append(e.Records, fmt.Sprintf(`{"id":%q,"email":""}`, id))
		}
		return e
	}
	put := func(epoch uint64, of told.Type, channel string, users ...string) {
		t.Helper()
		if sink.Put([]told.Event{event(epoch, of, channel, users...)}) {
			t.Fatal("the queue is full")
		}
	}
	expect := func(want string) {
		t.Helper()
		ws.Poll(t, 2*time.Minute, func() error {
			if got := r.known(t); got != want {
				return fmt.Errorf("the receiver knows %s, want %s", got, want)
			}
			return nil
		})
	}
	put(1, told.EpochComplete, "")
	put(1, told.ChannelOccupied, "sales")
	put(1, told.MemberJoined, "sales", "ada")
	put(1, told.MemberJoined, "sales", "__proto__")
	put(1, told.UserOnline, "", "ada")
	expect(`["channel","sales"] ["member","sales","__proto__"] ["member","sales","ada"] ["online","ada"]`)

	// The pod dies, and another begins an epoch while the receiver is down.
	r.kill(t)
	put(2, told.ChannelState, "support ü", "bob")
	put(2, told.EpochComplete, "")
	put(2, told.MemberJoined, "support ü", "eve")
	put(2, told.MemberLeft, "support ü", "bob")
	r.start(t)
	expect(`["channel","support ü"] ["member","support ü","eve"]`)
	put(1, told.MemberJoined, "sales", "late") // of the pod that was the owner
	put(2, told.UserOnline, "", "eve")
	expect(`["channel","support ü"] ["member","support ü","eve"] ["online","eve"]`)

	// Crashes in between change nothing.
	var want []string
	var list []told.Event
	for n := range 300 {
		id := fmt.Sprintf("user-%03d", n)
		list = append(list, event(2, told.MemberJoined, "crowd", id))
		if n%3 == 0 {
			list = append(list, event(2, told.MemberLeft, "crowd", id))
		} else {
			want = append(want, fmt.Sprintf(`["member","crowd",%q]`, id))
		}
		if n%5 == 4 {
			if sink.Put(list) {
				t.Fatal("the queue is full")
			}
			list = nil
		}
		if n%100 == 50 {
			r.kill(t)
			r.start(t)
		}
	}
	expect(`["channel","crowd"] ["channel","support ü"] ` + strings.Join(want, " ") + ` ["member","support ü","eve"] ["online","eve"]`)
	put(2, told.UserOffline, "", "eve")
	put(2, told.ChannelVacated, "crowd")
	put(3, told.EpochComplete, "")
	expect("")
	if n := restarted.Load(); n != 0 {
		t.Errorf("%d events were dropped", n)
	}

	resp, err := http.Post(url, "application/json", strings.NewReader(`{"events":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request without a signature is answered with %d", resp.StatusCode)
	}
}

// TestEventsExampleIsSigned compares the request on the page with its signature.
func TestEventsExampleIsSigned(t *testing.T) { backendExample(t, readPage(t, "docs/events.md")) }
