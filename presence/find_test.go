package presence

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

func TestConnectionsAreFound(t *testing.T) {
	w := newWorld(t, &Rules{})
	ann, tab, eve := w.connect("ann<a@x>"), w.connect("ann"), w.connect("")
	ann.join("room", WatchNone)
	eve.join("anonymous", WatchNone)
	h := w.host()
	if h.Conn(ann.ID()) != ann.Conn || h.Conn(NewID()) != nil {
		t.Error("Conn does not find the connection, or another one")
	}
	for name, want := range map[string][]*Conn{
		"room": {ann.Conn}, "anonymous": {eve.Conn}, "hall": nil, tab.ID().PrivateChannel(): {tab.Conn}, "tab|x": nil,
	} {
		if got := h.ChannelConns(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	pods := w.reg.Pods()
	got := fmt.Sprint(userTexts(MergeMembers(PerConnection, pods.Online(w.name, []string{"bob", "ann", "ann"}))))
	if want := "[ann<a@x> ann<a@x>]"; got != want {
		t.Errorf("online: %s, want %s", got, want)
	}
	if got := pods.Online(HostName{}, []string{"ann"}); got != nil {
		t.Errorf("on a host without connections: %v", got)
	}
}

// A backend can end any membership, however it began.
func TestExpelEndsMemberships(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		ann, watcher := w.connect("ann"), w.connect("w")
		ann.join("room", WatchList)
		watcher.join("room", WatchList)
		if err := ann.Assign("ann", "board"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		forget(ann, watcher)
		private := ann.ID().PrivateChannel()
		if got := ann.Expel([]string{"board", "nothing", private, "room", "board"}); !slices.Equal(got, []string{"board", "room"}) {
			t.Errorf("left %q", got)
		}
		ann.hears("left board (removed)", "left room (removed)")
		synctest.Wait()
		watcher.hears("presence room seq=2 count=1 -ann")
		w.sendTo(Message{Channels: []string{private}, Body: []byte("{}")})
		ann.hears(ann.mine("{}"))
		ann.join("room", WatchNone) // it is no ban
		ann.Close()
		if got := ann.Expel([]string{"room"}); got != nil {
			t.Errorf("a closed connection left %q", got)
		}
	})
}

// A join that waits for other pods is answered before it is ended.
func TestExpelAnswersTheJoinFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Rules{})
		w.reg.Pods().SetRelay(new(wires))
		ann := w.connect("ann")
		ann.join("room", WatchList)
		ann.hears()
		ann.Expel([]string{"room"})
		got := ann.heard()
		if len(got) != 2 || got[1] != "left room (removed)" {
			t.Errorf("frames %q", got)
		}
	})
}

// A connection that the backend ends has left: its user has no grace.
func TestQuitHasNoGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := graced(t, Class{Kind: Authenticated})
		ann := w.connect("a")
		ann.join("room", WatchNone)
		synctest.Wait()
		forget(watcher)
		ann.Quit()
		ann.Close()
		synctest.Wait()
		watcher.tells("presence room -a")
	})
}
