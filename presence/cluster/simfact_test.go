package cluster

import (
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// simFact is something that a complete answer about a host reports: a connection, a connection in a
// channel, or a pod that serves the host.
type simFact struct {
	run      *simRun
	host     presence.HostName
	channel  string    // "" for the connection itself
	user     string    // "" for an anonymous connection
	serves   bool      // the pod serves the host; channel and user are ""
	from, to time.Time // to is zero while it lasts
}

// simFacts has all facts of a simulation. sim.mu guards it.
type simFacts struct {
	all  map[presence.HostName][]*simFact
	open map[simFactKey]*simFact
}

type simFactKey struct {
	client  *simClient // nil if the pod serves the host
	run     *simRun    // set if client is nil
	host    presence.HostName
	channel string
}

func newSimFacts() *simFacts {
	return &simFacts{all: make(map[presence.HostName][]*simFact), open: make(map[simFactKey]*simFact)}
}

func (fs *simFacts) begin(k simFactKey, f simFact) {
	if fs.open[k] != nil {
		fs.end(k)
	}
	f.host, f.channel, f.from = k.host, k.channel, time.Now()
	fs.open[k] = &f
	fs.all[k.host] = append(fs.all[k.host], &f)
}

func (fs *simFacts) end(k simFactKey) {
	if f := fs.open[k]; f != nil {
		f.to = time.Now()
		delete(fs.open, k)
	}
}

// connected records that a client has a connection.
func (fs *simFacts) connected(c *simClient) {
	fs.begin(simFactKey{client: c, host: c.host}, simFact{run: c.run, user: c.user})
}

// joined records that a client is in a channel.
func (fs *simFacts) joined(c *simClient, channel string) {
	fs.begin(simFactKey{client: c, host: c.host, channel: channel}, simFact{run: c.run, user: c.user})
}

func (fs *simFacts) left(c *simClient, channel string) {
	fs.end(simFactKey{client: c, host: c.host, channel: channel})
}

// disconnected records that a client has no connection.
func (fs *simFacts) disconnected(c *simClient) {
	for channel := range c.joins {
		fs.left(c, channel)
	}
	fs.end(simFactKey{client: c, host: c.host})
}

// serves records whether a pod serves a host.
func (fs *simFacts) serves(r *simRun, host presence.HostName, serves bool) {
	k := simFactKey{run: r, host: host}
	switch {
	case !serves:
		fs.end(k)
	case fs.open[k] == nil:
		fs.begin(k, simFact{run: r, serves: true})
	}
}

// simCrowd is a group of connections: least surely, most perhaps.
type simCrowd struct {
	least, most map[string]int // number of connections of each user
	anon        [2]int         // least and most connections without a user
}

func newSimCrowd() *simCrowd {
	return &simCrowd{least: make(map[string]int), most: make(map[string]int)}
}

// simBounds is what a complete answer may say: everything that is there throughout, and nothing
// that was not there at any time.
type simBounds struct {
	dcs      map[string]*simCrowd
	sure     map[string]bool // data centers that must be in the answer; the others of dcs may be
	channels map[string]*simCrowd
}

// bounds returns what an answer may say that was asked at began and given at end. sure reports
// whether a pod must be in it.
func (fs *simFacts) bounds(host presence.HostName, began, end time.Time, sure func(r *simRun) bool) *simBounds {
	b := &simBounds{dcs: make(map[string]*simCrowd), sure: make(map[string]bool), channels: make(map[string]*simCrowd)}
	since := began.Add(-slack)
	for _, f := range fs.all[host] {
		if f.from.After(end) || !f.to.IsZero() && f.to.Before(since) {
			continue
		}
		surely := f.from.Before(since) && (f.to.IsZero() || f.to.After(end)) && sure(f.run)
		if f.serves {
			if b.dcs[f.run.dc] == nil {
				b.dcs[f.run.dc] = newSimCrowd()
			}
			b.sure[f.run.dc] = b.sure[f.run.dc] || surely
			continue
		}
		crowds, name := b.channels, f.channel
		if f.channel == "" {
			crowds, name = b.dcs, f.run.dc
		}
		if crowds[name] == nil {
			crowds[name] = newSimCrowd()
		}
		crowds[name].add(f.user, surely)
	}
	return b
}

func (c *simCrowd) add(user string, surely bool) {
	if user == "" {
		c.anon[1]++
		if surely {
			c.anon[0]++
		}
		return
	}
	c.most[user]++
	if surely {
		c.least[user]++
	}
}

// checkIDs compares a list of users, with one entry for each connection if raw is set.
func (c *simCrowd) checkIDs(list []presence.User, raw bool) error {
	got := make(map[string]int)
	for i := range list {
		got[list[i].ID]++
	}
	for user, n := range got {
		if most := c.most[user]; n > most || !raw && n > 1 {
			return fmt.Errorf("%s is %d times in the list, and has %d connections", user, n, most)
		}
	}
	for user, least := range c.least {
		if !raw {
			least = min(least, 1)
		}
		if got[user] < least {
			return fmt.Errorf("%s is %d times in the list, and has %d connections throughout", user, got[user], least)
		}
	}
	return nil
}

// users returns the least and the greatest number of users, or with raw of their connections.
func (c *simCrowd) users(raw bool) (least, most int) {
	if !raw {
		return len(c.least), len(c.most)
	}
	for user, n := range c.most {
		least, most = least+c.least[user], most+n
	}
	return least, most
}

func checkCount(what string, got, least, most int) error {
	if got < least || got > most {
		return fmt.Errorf("%s: %d, and there are %d to %d", what, got, least, most)
	}
	return nil
}

// checkUsers compares an answer of AllUsers.
func (b *simBounds) checkUsers(list []DataCenter, members, raw bool) error {
	got := make(map[string]bool)
	for i := range list {
		dc := &list[i]
		c := b.dcs[dc.Name]
		if c == nil || got[dc.Name] {
			return fmt.Errorf("%s is in the list, and has no pod for the host, or is twice in it", dc.Name)
		}
		got[dc.Name] = true
		least, most := c.users(raw)
		if err := checkCount(dc.Name+", users", dc.Authenticated, least, most); err != nil {
			return err
		}
		if err := checkCount(dc.Name+", anonymous", dc.Anonymous, c.anon[0], c.anon[1]); err != nil {
			return err
		}
		if !members {
			continue
		}
		if err := c.checkIDs(dc.Users, raw); err != nil {
			return fmt.Errorf("%s: %w", dc.Name, err)
		}
		if len(dc.Users) != dc.Authenticated {
			return fmt.Errorf("%s: %d users in the list, and a count of %d", dc.Name, len(dc.Users), dc.Authenticated)
		}
	}
	for dc, sure := range b.sure {
		if sure && !got[dc] {
			return fmt.Errorf("%s is not in the list", dc)
		}
	}
	return nil
}

// checkListings compares an answer of Users.
func (b *simBounds) checkListings(list []presence.Listing, raw bool) error {
	got := make(map[string]bool)
	for i := range list {
		l := &list[i]
		if l.Kind == presence.Private {
			continue
		}
		c := b.channels[l.Channel]
		if c == nil || got[l.Channel] {
			return fmt.Errorf("%s is in the list, and has nobody, or is twice in it", l.Channel)
		}
		got[l.Channel] = true
		if l.Named() {
			if err := c.checkIDs(l.Users, raw); err != nil {
				return fmt.Errorf("%s: %w", l.Channel, err)
			}
			continue
		}
		every := raw || l.Kind == presence.Anonymous
		least, most := c.users(every)
		if err := checkCount(l.Channel, l.Count, least+c.anon[0], most+c.anon[1]); err != nil {
			return err
		}
	}
	for channel, c := range b.channels {
		if least, _ := c.users(true); least+c.anon[0] > 0 && !got[channel] {
			return fmt.Errorf("%s is not in the list", channel)
		}
	}
	return nil
}
