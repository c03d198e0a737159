package presence

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// The users agree with a map while they grow and shrink over all sizes.
func TestRemoteUsersAgreeWithAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var users remoteUsers
	want := make(map[string]remoteUser)
	for step := range 20_000 {
		id := fmt.Sprintf("user%d", rng.IntN(1+(step/100)%(3*fewRemoteUsers))) // one of few, and then of many
		if _, known := want[id]; rng.IntN(2) == 0 {
			if users.remove(id) != known {
				t.Fatalf("step %d: %s removed: %t", step, id, !known)
			}
			delete(want, id)
		} else {
			u := remoteUser{datedEmail: datedEmail{id, int64(step)}}
			users.set(id, u)
			want[id] = u
		}
		if ids := slices.Sorted(users.ids()); !slices.Equal(ids, slices.Sorted(maps.Keys(want))) || users.len() != len(ids) {
			t.Fatalf("step %d: %d users %v", step, users.len(), ids)
		}
		for i := range 3 * fewRemoteUsers {
			id := fmt.Sprintf("user%d", i)
			u, ok := users.get(id)
			if known, there := want[id]; u != known || ok != there {
				t.Fatalf("step %d: %s is %+v and %t", step, id, u, ok)
			}
		}
	}
}

func TestPartsAreSortedByPod(t *testing.T) {
	var parts podParts
	for _, pod := range []string{"b", "d", "a", "c", "b"} {
		parts.ensure(pod).conns++
	}
	parts.remove("c")
	parts.remove("missing")
	var got []string
	for i := range parts {
		got = append(got, fmt.Sprint(parts[i].pod, parts[i].conns))
	}
	if want := []string{"a1", "b2", "d1"}; !slices.Equal(got, want) || parts.get("c") != nil || parts.conns() != 4 {
		t.Errorf("parts %v with %d connections, want %v", got, parts.conns(), want)
	}
}

// A host keeps no text of a delta, which can be a part of a payload, and one copy of texts that it
// has.
func TestMergedTextsAreCopied(t *testing.T) {
	payload := "b b@x info status record sender"
	member := func() Member {
		text := string([]byte(payload))
		return Member{
			User: User{ID: text[:1], Email: text[2:5], Info: text[6:10], Status: text[11:17]}, Seen: 1, InfoTime: 1, StatusTime: 1,
			Shown: &Shown{ID: text[:1], Record: text[18:24], Sender: text[25:31]},
		}
	}
	w, _ := newRelayed(t, &Rules{})
	w.connect("a").join("room", WatchList)
	sent := member()
	for _, pod := range []string{"p", "q"} {
		w.merge(pod, Delta{Clock: 5, Conns: 1, Joined: []Member{sent}}, Merged)
	}
	h := w.host()
	u := h.users["b"]
	kept := func(pod string) remoteUser {
		known, ok := h.channels["room"].overlay.parts.get(pod).users.get("b")
		if !ok {
			t.Fatalf("%s has no user", pod)
		}
		return known
	}
	p, q := kept("p"), kept("q")
	if p.email != "b@x" || *p.shown != *sent.Shown || p.extra.info != "info" || p.extra.status != "status" {
		t.Fatalf("kept %+v, %+v and %+v", p, p.shown, p.extra)
	}
	data := func(s string) *byte { return unsafe.StringData(s) }
	texts := [][2]string{
		{u.ID, sent.ID},
		{p.email, sent.Email},
		{p.extra.info, sent.Info},
		{p.extra.status, sent.Status},
		{p.shown.ID, sent.Shown.ID},
		{p.shown.Record, sent.Shown.Record},
		{p.shown.Sender, sent.Shown.Sender},
	}
	for _, pair := range texts {
		if data(pair[0]) == data(pair[1]) {
			t.Errorf("%q is not copied", pair[0])
		}
	}
	if data(p.email) != data(q.email) {
		t.Error("the address is kept twice")
	}
	again := member()
	again.Seen = 2
	w.merge("p", Delta{Clock: 6, Base: 5, Conns: 1, Joined: []Member{again}}, Merged)
	if now := kept("p"); now.shown != p.shown || data(now.email) != data(p.email) || now.seen != 2 {
		t.Errorf("kept %+v after %+v, which says the same", now, p)
	}
}
