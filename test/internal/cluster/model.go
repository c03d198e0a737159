package cluster

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Model is who is connected where, at one moment. Connections go by their ID.
type Model struct {
	Pods  []Pod
	Conns map[string]*ModelConn
	// emails are what each pod knows: the last one that came with a login of the user, as long as one of the user's
	// connections is there. The clock orders them.
	emails map[podUser]email
	clock  int
}

// ModelConn is one connection.
type ModelConn struct {
	Pod      Pod
	User     string // ID, "" for an anonymous one
	Channels map[string]bool
}

type podUser struct {
	pod Pod
	id  string
}

type email struct {
	text  string
	clock int
}

// NewModel returns the model of a deployment without connections.
func NewModel(pods []Pod) *Model {
	return &Model{Pods: pods, Conns: make(map[string]*ModelConn), emails: make(map[podUser]email)}
}

// Connect adds a connection, with nil an anonymous one.
func (m *Model) Connect(id string, pod Pod, user *ws.User) {
	m.Conns[id] = &ModelConn{Pod: pod, Channels: make(map[string]bool)}
	if user != nil {
		m.Authenticate(id, *user)
	}
}

// Authenticate makes a connection the user's.
func (m *Model) Authenticate(id string, user ws.User) {
	c := m.Conns[id]
	before := c.User
	c.User = user.ID
	m.clock++
	m.emails[podUser{c.Pod, user.ID}] = email{user.Email, m.clock}
	m.forget(c.Pod, before)
}

// Close takes a connection away.
func (m *Model) Close(id string) {
	c := m.Conns[id]
	delete(m.Conns, id)
	m.forget(c.Pod, c.User)
}

// forget drops the e-mail address of a user who no longer has a connection to the pod.
func (m *Model) forget(pod Pod, user string) {
	for _, c := range m.Conns {
		if c.Pod == pod && c.User == user {
			return
		}
	}
	delete(m.emails, podUser{pod, user})
}

// Restart takes away all connections to a pod.
func (m *Model) Restart(pod Pod) {
	for id, c := range m.Conns {
		if c.Pod == pod {
			m.Close(id)
		}
	}
}

// AllUsers returns what every pod has to answer.
func (m *Model) AllUsers(s Shape) map[string]DataCenter {
	dcs := make(map[string]DataCenter)
	for _, p := range m.Pods {
		dc := DataCenter{}
		here := func(c *ModelConn) bool { return c.Pod.DC == p.DC }
		for _, c := range m.Conns {
			if here(c) && c.User == "" {
				dc.Anonymous++
			}
		}
		users := m.users(here, s.Raw)
		dc.Authenticated = len(users)
		if s.Include {
			dc.Users = users
		}
		dcs[p.DC] = dc
	}
	return dcs
}

// users lists the users of some connections in the order of their IDs, each with the latest address that one of the pods
// of these connections knows.
func (m *Model) users(of func(*ModelConn) bool, raw bool) []ws.User {
	latest, entries := make(map[string]email), make(map[string]int)
	for _, c := range m.Conns {
		if c.User == "" || !of(c) {
			continue
		}
		entries[c.User]++
		if e := m.emails[podUser{c.Pod, c.User}]; e.clock > latest[c.User].clock {
			latest[c.User] = e
		}
	}
	users := []ws.User{}
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		n := 1
		if raw {
			n = entries[id]
		}
		for range n {
			users = append(users, ws.User{ID: id, Email: latest[id].text})
		}
	}
	return users
}

// CheckAllUsers returns an error unless the answer is the one.
func (m *Model) CheckAllUsers(a Answer) error {
	if !a.Complete {
		return fmt.Errorf("%+v is incomplete, %q are missing", a.Shape, a.Missing)
	}
	if want := m.AllUsers(a.Shape); !reflect.DeepEqual(a.DCs, want) {
		return fmt.Errorf("%+v:\n got %+v\nwant %+v", a.Shape, a.DCs, want)
	}
	return nil
}

// Members lists the users who listen to a channel, on whatever pod.
func (m *Model) Members(channel string) []ws.User {
	return m.users(func(c *ModelConn) bool { return c.Channels[channel] }, false)
}

// Listeners counts the connections that listen to a channel.
func (m *Model) Listeners(channel string) int {
	n := 0
	for _, c := range m.Conns {
		if c.Channels[channel] {
			n++
		}
	}
	return n
}

// Users returns what /message/users says of the pods that match: channels that begin with "anonymous" are a number,
// private ones a user or 1, all others lists of users.
func (m *Model) Users(of func(Pod) bool) map[string]any {
	answer := make(map[string]any)
	for id, c := range m.Conns {
		if !of(c.Pod) {
			continue
		}
		private := "tab|" + id
		answer[private] = 1.0
		if c.User != "" {
			answer[private] = m.users(func(other *ModelConn) bool { return other.Pod == c.Pod && other.User == c.User }, false)[0]
		}
		for channel := range c.Channels {
			if strings.HasPrefix(channel, "anonymous") {
				n, _ := answer[channel].(float64)
				answer[channel] = n + 1
				continue
			}
			answer[channel] = m.users(func(c *ModelConn) bool { return of(c.Pod) && c.Channels[channel] }, false)
		}
	}
	return answer
}
