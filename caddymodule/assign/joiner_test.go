package assign

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// office is a host on which users are assigned by another pod, in a bubble of testing/synctest.
type office struct {
	t        *testing.T
	registry *presence.Registry
	keeper   *Keeper
	host     presence.HostName
	rules    atomic.Pointer[presence.Rules]
	clock    uint64
}

func newOffice(t *testing.T, rules *presence.Rules) *office {
	t.Helper()
	registry := presence.NewRegistry(wire.Encoder{})
	greeted := func(*presence.Conn) bool { return true }
	k := NewKeeper(filepath.Join(t.TempDir(), "assignments.db"), registry, greeted, zap.NewNop())
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &office{t: t, registry: registry, keeper: k, host: testkit.MustHost(t, "portal.example.com"), clock: 1 << 60}
	o.rules.Store(rules)
	return o
}

// Rules implements presence.RulesSource.
func (o *office) Rules() *presence.Rules { return o.rules.Load() }

// set assigns a user to channels. The mode None ends the assignments.
func (o *office) set(user string, mode assignment.Mode, channels ...string) {
	var records []assignment.Record
	for _, channel := range channels {
		o.clock++
		records = append(records, assignment.Record{
			Host: o.host, User: user, Channel: channel, Mode: mode, Version: assignment.Version{Clock: o.clock},
		})
	}
	_, _ = o.keeper.Book.Merge(records) // there is no file to keep them
}

func (o *office) connect(user string) (*presence.Conn, *testkit.Ear) {
	o.t.Helper()
	e := new(testkit.Ear)
	c, err := o.registry.Connect(o.host, o, &presence.User{ID: user}, e)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(c.Close)
	o.keeper.Joiner.JoinAssigned(c)
	return c, e
}

// A connection that changes its user keeps the channels that both users are assigned to, and those
// that the client has joined.
func TestAssignmentsFollowTheUserOfAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, &presence.Rules{})
		o.set("ada", assignment.Ignore, "both", "of-ada")
		o.set("bob", assignment.Ignore, "both", "of-bob")
		c, e := o.connect("ada")
		e.Heard(t, testkit.JoinedFrame("both"), testkit.JoinedFrame("of-ada"))
		if err := c.Join("own", presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
		e.Heard(t, testkit.JoinedFrame("own"))
		if err := c.Authenticate(presence.User{ID: "bob"}, nil); err != nil {
			t.Fatal(err)
		}
		o.keeper.Joiner.LeaveUnassigned(c)
		o.keeper.Joiner.JoinAssigned(c)
		e.Heard(t, testkit.RemovedFrame("of-ada"), testkit.JoinedFrame("of-bob"))
		o.set("ada", assignment.None, "both") // no longer the user of the connection
		e.Heard(t)
		if err := c.Authenticate(presence.User{ID: "nobody"}, nil); err != nil {
			t.Fatal(err)
		}
		o.keeper.Joiner.LeaveUnassigned(c)
		o.keeper.Joiner.JoinAssigned(c)
		e.Heard(t, testkit.RemovedFrame("both"), testkit.RemovedFrame("of-bob"))
	})
}

func TestAssignmentSleepsWhileTheChannelIsAnonymous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := &presence.Rules{Classifier: presence.Patterns{Anonymous: []string{"room"}, Default: presence.Authenticated}}
		o := newOffice(t, open)
		o.set("ada", assignment.Listen, "room")
		c, e := o.connect("ada")
		e.Heard(t)
		if err := c.Join("room", presence.WatchNone, ""); err != nil {
			t.Fatal(err)
		}
		if got := o.keeper.Mode(o.host, "ada", "room"); got != assignment.None {
			t.Errorf("in an anonymous channel the mode is %v", got)
		}
		if err := c.Leave("room", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		e.Take()

		host := o.registry.Host(o.host)
		o.rules.Store(&presence.Rules{})
		host.Reclassify()
		o.keeper.Joiner.Recheck(host)
		e.Heard(t, testkit.JoinedFrame("room"))
		if got := o.keeper.Mode(o.host, "ada", "room"); got != assignment.Listen {
			t.Errorf("in an authenticated channel the mode is %v", got)
		}
		if got := o.keeper.Mode(testkit.MustHost(t, "other.example.com"), "ada", "room"); got != assignment.None {
			t.Errorf("on another host the mode is %v", got)
		}
	})
}

// moody is an authorizer that fails for a while, and refuses one channel.
type moody struct{ failures atomic.Int64 }

func (m *moody) Authorize(_ presence.HostName, channel string, _ *presence.User) error {
	switch {
	case channel == "refused":
		return presence.ErrDenied
	case m.failures.Add(-1) >= 0:
		return errors.New("plugin trapped")
	}
	return nil
}

func TestAssignmentIsTriedAgainWhenAPluginFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(moody)
		m.failures.Store(3)
		o := newOffice(t, &presence.Rules{Authorizer: m})
		o.set("ada", assignment.Ignore, "refused", "room")
		_, e := o.connect("ada")
		e.Heard(t)
		time.Sleep(joinRetry * (1 + 2))
		e.Heard(t)
		time.Sleep(joinRetry * 4)
		e.Heard(t, testkit.JoinedFrame("room"))

		m.failures.Store(1 << 40)
		gone, e := o.connect("ada")
		e.Heard(t)
		gone.Close()
		asked := m.failures.Load()
		time.Sleep(time.Hour)
		if more := asked - m.failures.Load(); more != 0 {
			t.Errorf("asked %d times about a connection that is closed", more)
		}
	})
}

// waiting is an authorizer that does not answer for one host until the test releases it.
type waiting chan struct{}

func (w waiting) Authorize(host presence.HostName, _ string, _ *presence.User) error {
	if host.String() == "portal.example.com" {
		<-w
	}
	return nil
}

func TestSlowPluginHoldsUpItsOwnHostOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := make(waiting)
		o := newOffice(t, &presence.Rules{Authorizer: w})
		o.set("ada", assignment.Ignore, "room")
		_, slow := o.connect("ada")
		slow.Heard(t)
		o.host = testkit.MustHost(t, "other.example.com")
		o.set("ada", assignment.Ignore, "room")
		_, fast := o.connect("ada")
		fast.Heard(t, testkit.JoinedFrame("room"))
		close(w)
		slow.Heard(t, testkit.JoinedFrame("room"))
	})
}

func TestManyChangesOfAConnectionAreOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := make(waiting)
		o := newOffice(t, &presence.Rules{Authorizer: w})
		o.set("ada", assignment.Ignore, "first")
		c, e := o.connect("ada")
		synctest.Wait()
		var want []string
		for i := range 2 * manyChannels {
			channel := fmt.Sprintf("c%03d", i)
			o.set("ada", assignment.Ignore, channel)
			o.set("ada", assignment.None, "first")
			want = append(want, testkit.JoinedFrame(channel))
		}
		close(w)
		e.Heard(t, append([]string{testkit.JoinedFrame("first"), testkit.RemovedFrame("first")}, want...)...)
		if n := len(c.Assigned()); n != 2*manyChannels {
			t.Errorf("%d channels", n)
		}
		if n := len(o.keeper.Joiner.hosts); n != 0 {
			t.Errorf("%d hosts still have something to do", n)
		}
	})
}

// stuckAuthorizer does not answer about one channel until the test releases it.
type stuckAuthorizer chan struct{}

func (s stuckAuthorizer) Authorize(_ presence.HostName, channel string, _ *presence.User) error {
	if channel == "slow" {
		<-s
	}
	return nil
}

// A removal does not wait for joins: meanwhile, messages for the backend alone would reach all
// listeners.
func TestRemovalWaitsForNoPlugin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := make(stuckAuthorizer)
		o := newOffice(t, &presence.Rules{Authorizer: s})
		o.set("ada", assignment.Receive, "room")
		_, ada := o.connect("ada")
		ada.Heard(t, testkit.JoinedFrame("room"))
		o.set("bob", assignment.Ignore, "slow")
		_, bob := o.connect("bob")
		bob.Heard(t)
		o.set("ada", assignment.None, "room")
		ada.Heard(t, testkit.RemovedFrame("room"))
		close(s)
		bob.Heard(t, testkit.JoinedFrame("slow"))
		ada.Heard(t)
	})
}
