package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// assignTo posts to adduser or removeuser of a site, and returns the answer.
func assignTo(t *testing.T, s ws.Site, endpoint, users string) ws.Answer {
	t.Helper()
	return s.Request(t, http.MethodPost, "/message/"+endpoint, `{"users":`+users+`}`,
		"Content-Type", "application/json", "X-Api-Key", s.Key)
}

// assigned is assignTo, but fails the test on an error.
func assigned(t *testing.T, s ws.Site, endpoint, users string) {
	t.Helper()
	if a := assignTo(t, s, endpoint, users); a.Status != http.StatusCreated {
		t.Fatalf("%s: status %d: %s", endpoint, a.Status, a.Body)
	}
}

// assignment has the users of a request, each with one channel.
func assignment(channel string, ids ...string) string {
	users := make([]string, len(ids))
	for i, id := range ids {
		users[i] = fmt.Sprintf(`{"id":%q,"channels":[{"name":%q,"mode":"listen"}]}`, id, channel)
	}
	return "[" + strings.Join(users, ",") + "]"
}

func bearer(t *testing.T, id string) []string {
	t.Helper()
	return []string{"Authorization", "Bearer " + token(t, *userOf(id))}
}

func joinedFrame(channel string) string {
	return fmt.Sprintf(`{"type":"joined","channel":%q,"kind":"authenticated"}`, channel)
}

func leftFrame(channel string) string {
	return fmt.Sprintf(`{"type":"left","channel":%q,"reason":"removed"}`, channel)
}

// again restarts the process, with its folder.
func (p *pod) again(t *testing.T, how syscall.Signal) {
	t.Helper()
	p.signal(t, how)
	p.await(t, ws.Patience)
	p.run(t)
}

// forgetAll removes what the pod has on disk.
func (p *pod) forgetAll(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(p.dir, "caddy", "rollcall")); err != nil {
		t.Fatal(err)
	}
}

// awaitJoined reads joined frames until the one for the channel comes.
func awaitJoined(t *testing.T, c *ws.Client, channel string) {
	t.Helper()
	for {
		var frame struct{ Type, Channel string }
		if err := json.Unmarshal([]byte(c.Next(t)), &frame); err != nil || frame.Type != "joined" {
			t.Fatalf("got %+v (%v), want to be joined to %s", frame, err, channel)
		}
		if frame.Channel == channel {
			return
		}
	}
}

// Assignments that were answered with 201 survive a kill in the middle of others.
func TestAssignmentsSurviveKill(t *testing.T) {
	p := newPod(t, podNames(1, "us-east-1")[0], "", "")
	p.setup.globals = "grace_period 1s"
	p.run(t)
	early := p.site.Dial(t, bearer(t, "USER_1")...)
	assigned(t, p.site, "adduser", assignment("salesRoom", "USER_1", "USER_2"))
	early.Expect(t, joinedFrame("salesRoom"))

	for round := range 3 {
		kept := make(chan int)
		go func() { // ends when the process no longer answers
			n := 0
			for ; n < 100_000; n++ {
				users := assignment(fmt.Sprintf("round-%d", round), fmt.Sprintf("many-%d", n))
				a, err := p.site.Do(http.MethodPost, "/message/adduser", `{"users":`+users+`}`, "X-Api-Key", apiKey)
				if err != nil || a.Status != http.StatusCreated {
					break
				}
			}
			kept <- n
		}()
		channel := fmt.Sprintf("round-%d", round)
		probe := p.site.Dial(t, bearer(t, "many-20")...)
		awaitJoined(t, probe, channel) // some are stored by then
		p.again(t, syscall.SIGKILL)
		n := <-kept
		if n < 20 {
			t.Fatalf("only %d were kept", n)
		}
		for _, i := range []int{0, n / 2, n - 1} {
			c := p.site.Dial(t, bearer(t, fmt.Sprintf("many-%d", i))...)
			awaitJoined(t, c, channel)
		}
	}
	p.site.Dial(t, bearer(t, "USER_1")...).Expect(t, joinedFrame("salesRoom"))
	assigned(t, p.site, "removeuser", assignment("salesRoom", "USER_1"))
	p.again(t, syscall.SIGTERM)
	p.site.Dial(t, bearer(t, "USER_1")...).ExpectNothing(t)
	p.site.Dial(t, bearer(t, "USER_2")...).Expect(t, joinedFrame("salesRoom"))
}

// A user is assigned on one pod, and joined on the others: if it is already connected, if it comes
// later, and after each pod was killed.
func TestAssignmentsAreOnAllPods(t *testing.T) {
	t.Parallel()
	d := deploy(t, podNames(2, "us-east-1", "eu-west-1"), "")
	there := d[1].site.Dial(t, bearer(t, "USER_1")...)
	a := assignTo(t, d[0].site, "adduser", assignment("salesRoom", "USER_1", "USER_2"))
	if a.Status != http.StatusCreated || a.Header.Get("Rollcall-Complete") != "true" {
		t.Fatalf("status %d, %v: %s", a.Status, a.Header, a.Body)
	}
	there.Expect(t, joinedFrame("salesRoom"))
	for _, p := range d[1:] { // confirmed, so it is effective at once
		p.site.Dial(t, bearer(t, "USER_2")...).Expect(t, joinedFrame("salesRoom"))
	}

	// A pod that is down receives it when it comes back, even without its folder.
	d[3].signal(t, syscall.SIGKILL)
	d[3].await(t, ws.Patience)
	a = assignTo(t, d[0].site, "adduser", assignment("missed", "USER_1"))
	if a.Status != http.StatusCreated || a.Header.Get("Rollcall-Missing") != "eu-west-1/pod-2" {
		t.Errorf("status %d, %v", a.Status, a.Header)
	}
	there.Expect(t, joinedFrame("missed"))
	assigned(t, d[1].site, "removeuser", assignment("salesRoom", "USER_1"))
	there.Expect(t, leftFrame("salesRoom"))
	d[2].signal(t, syscall.SIGKILL)
	d[2].await(t, ws.Patience)
	d[2].forgetAll(t)
	for _, p := range d[2:] {
		p.run(t)
	}
	d.await(t)
	for _, p := range d {
		p.expectAssigned(t, "USER_1", "missed")
		p.expectAssigned(t, "USER_2", "salesRoom")
	}

	// All pods at once.
	for _, p := range d {
		p.signal(t, syscall.SIGKILL)
		p.await(t, ws.Patience)
	}
	d.run(t)
	for _, p := range d {
		p.expectAssigned(t, "USER_1", "missed")
		p.expectAssigned(t, "USER_2", "salesRoom")
	}
}

// expectAssigned connects the user and waits until it is in the channel and, except for private
// ones, in no other.
func (p *pod) expectAssigned(t *testing.T, user, channel string) {
	t.Helper()
	c := p.site.Dial(t, bearer(t, user)...)
	defer c.Close(t)
	ws.Poll(t, ws.Patience, func() error {
		text, err := p.site.Ask("users", `{}`)
		if err != nil {
			return err
		}
		var listed map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &listed); err != nil {
			return err
		}
		var in []string
		for name, members := range listed {
			if !strings.HasPrefix(name, "tab|") && strings.Contains(string(members), fmt.Sprintf("%q", user)) {
				in = append(in, name)
			}
		}
		if !slices.Equal(in, []string{channel}) {
			return fmt.Errorf("%s: %s is in %q, want %q alone", p.Pod, user, in, channel)
		}
		return nil
	})
}

// Two halves of a deployment continue separately, and agree when they meet again.
func TestAssignmentsAfterAPodWasPaused(t *testing.T) {
	t.Parallel()
	d := deploy(t, podNames(3, "us-east-1"), "")
	there := d[2].site.Dial(t, bearer(t, "USER_1")...)
	assigned(t, d[0].site, "adduser", assignment("salesRoom", "USER_1"))
	there.Expect(t, joinedFrame("salesRoom"))
	d[2].signal(t, syscall.SIGSTOP)
	a := assignTo(t, d[0].site, "adduser", assignment("support", "USER_2"))
	if a.Status != http.StatusCreated || a.Header.Get("Rollcall-Missing") != "us-east-1/pod-3" {
		t.Errorf("status %d, %v", a.Status, a.Header)
	}
	assigned(t, d[1].site, "removeuser", `[{"id":"USER_1"}]`)
	ws.Poll(t, ws.Patience, func() error { return d[0].sees(d[:2]) })
	d[2].signal(t, syscall.SIGCONT)
	d.await(t)
	d[2].expectAssigned(t, "USER_2", "support")
	there.Expect(t, leftFrame("salesRoom"))
}

// With a full disk, changes are refused and nothing is lost; presence continues to work.
func TestAssignmentsOnAFullDisk(t *testing.T) {
	p := newPod(t, podNames(1, "us-east-1")[0], "", "")
	p.setup.globals = "grace_period 1s"
	folder := filepath.Join(p.dir, "caddy", "rollcall")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatalf("mounting a small disk, which needs root: %v", err)
	}
	t.Cleanup(func() {
		p.kill()
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	p.run(t)
	kept := 0
	var a ws.Answer
	for ; kept < 1000; kept++ {
		channel := fmt.Sprintf("%d-%s", kept, strings.Repeat("c", 200))
		ids := make([]string, 50)
		for i := range ids {
			ids[i] = fmt.Sprintf("user-%d-%d", kept, i)
		}
		if a = assignTo(t, p.site, "adduser", assignment(channel, ids...)); a.Status != http.StatusCreated {
			break
		}
	}
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "5" || !strings.Contains(a.Body, `"code":"unavailable"`) {
		t.Fatalf("after %d: status %d: %s", kept, a.Status, a.Body)
	}
	ws.Poll(t, ws.Patience, func() error {
		if !strings.Contains(p.log.String(), "no space left on device") {
			return errors.New("the log does not say why")
		}
		return nil
	})
	check := func() {
		t.Helper()
		for _, i := range []int{0, kept / 2, kept - 1} {
			c := p.site.Dial(t, bearer(t, fmt.Sprintf("user-%d-7", i))...)
			c.Expect(t, joinedFrame(fmt.Sprintf("%d-%s", i, strings.Repeat("c", 200))))
		}
		p.site.Dial(t, bearer(t, fmt.Sprintf("user-%d-7", kept))...).ExpectNothing(t)
	}
	check()
	p.again(t, syscall.SIGKILL)
	check()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	assigned(t, p.site, "adduser", assignment("room", "USER_1"))
	p.site.Dial(t, bearer(t, "USER_1")...).Expect(t, joinedFrame("room"))
}
