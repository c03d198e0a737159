package presence

import (
	"fmt"
	"sync"
	"testing"
)

func TestHostIsDroppedWithItsLastConnection(t *testing.T) {
	w := newWorld(t, &Rules{MaxChannels: 1})
	if w.reg.Host(w.name) != nil || len(w.reg.Hosts()) != 0 {
		t.Fatal("a registry begins with a host")
	}
	c, other := w.connect("a<a@x>"), w.connect("")
	c.join("room", WatchList)
	old := w.host()
	other.Close()
	if w.reg.Host(w.name) != old {
		t.Fatal("the host was dropped before its last connection closed")
	}
	c.Close()
	if w.reg.Host(w.name) != nil || len(w.reg.Hosts()) != 0 {
		t.Fatal("the host is still there")
	}
	old.SetRules(&Rules{}) // a reload that still has it does no harm

	w.rules = &Rules{MaxChannels: 2} // a new host has the rules of its first connection
	c = w.connect("a")
	if got, want := w.host().Stats(), (Stats{Conns: 1, LoggedIn: 1, Users: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	c.join("room", WatchList)
	c.hears("joined room authenticated seq=0 count=1 [a]")
	c.join("other", WatchNone)
}

func TestHostKeepsTheRulesItHas(t *testing.T) {
	w := newWorld(t, &Rules{})
	w.connect("a")
	w.rules = &Rules{Classifier: Patterns{Default: Anonymous}}
	c := w.connect("b")
	c.join("room", WatchNone)
	c.hears("joined room authenticated")
}

func TestHostsDoNotSeeEachOther(t *testing.T) {
	w := newWorld(t, &Rules{})
	elsewhere := *w
	name, err := ParseHostName("other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.name = name

	here, there := w.connect("a<here@x>"), elsewhere.connect("a<there@x>")
	if here.Host() != w.name || there.Host() != name || w.host().Name() != w.name {
		t.Errorf("connections of %s and %s, host %s", here.Host(), there.Host(), w.host().Name())
	}
	here.join("room", WatchList)
	there.join("room", WatchList)
	here.hears("joined room authenticated seq=0 count=1 [a<here@x>]")
	there.hears("joined room authenticated seq=0 count=1 [a<there@x>]")
	if _, ok := w.host().Channel(there.ID().PrivateChannel(), PerUser); ok {
		t.Error("a private channel of another host is listed")
	}
	hosts := w.reg.Hosts()
	if w.reg.Len() != 2 || len(hosts) != 2 || hosts[0].Name() != name || hosts[1].Name() != w.name {
		t.Errorf("hosts %v, want both by name", hosts)
	}
	there.Close()
	here.hears()
	wantLines(t, w.channels(PerUser), "room [a<here@x>]")
}

// A host is dropped in a second step after its last connection closed, so others may come and go in
// between.
func TestHostThatIsInUseIsNotDropped(t *testing.T) {
	w := newWorld(t, &Rules{})
	c := w.connect("a")
	old := w.host()
	w.reg.drop(old)
	if w.reg.Host(w.name) != old {
		t.Fatal("a host with a connection was dropped")
	}
	c.Close()
	w.connect("b")
	w.reg.drop(old)
	if h := w.reg.Host(w.name); h == nil || h == old {
		t.Errorf("host %p, want another than %p", h, old)
	}
}

func TestHostsComeAndGoAtOnce(t *testing.T) {
	w := newWorld(t, &Rules{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			user := &User{ID: fmt.Sprint(i)}
			for range 500 {
				c, err := w.reg.Connect(w.name, w.rules, user, &inbox{tape: w.tape})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Join("room", WatchNone, ""); err != nil {
					t.Error(err)
				}
				h := w.reg.Host(w.name)
				if h == nil {
					t.Error("the host was dropped while it has a connection")
				} else if _, ok := h.Channel(c.ID().PrivateChannel(), PerUser); !ok {
					t.Error("the registry has another host than the connection")
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	if hosts := w.reg.Hosts(); len(hosts) != 0 {
		t.Errorf("%d hosts are left", len(hosts))
	}
}
