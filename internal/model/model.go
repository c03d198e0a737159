// Package model computes the correct answer of each endpoint from the connections of a deployment.
// Tests of many pods and the soak test compare the pods' answers with it.
package model

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// User is a user as answers and frames show them.
type User struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// Pod identifies one pod of a deployment.
type Pod struct{ DC, Name string }

// String returns the pod as the header Rollcall-Missing writes it.
func (p Pod) String() string { return p.DC + "/" + p.Name }

// Model is the state of a deployment at one moment: its connections by ID.
type Model struct {
	Pods  []Pod
	Conns map[string]*Conn
	// emails holds what each pod knows: the address of the latest login of a user, while one of the
	// user's connections to the pod is open. The clock orders them.
	emails map[podUser]email
	clock  int
}

// Conn is one connection.
type Conn struct {
	Pod      Pod
	User     string // ID; empty for an anonymous connection
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

// New returns the model of a deployment without connections.
func New(pods []Pod) *Model {
	return &Model{Pods: pods, Conns: make(map[string]*Conn), emails: make(map[podUser]email)}
}

// Connect adds a connection. If user is nil, it is anonymous.
func (m *Model) Connect(id string, pod Pod, user *User, channels ...string) {
	c := &Conn{Pod: pod, Channels: make(map[string]bool, len(channels))}
	for _, channel := range channels {
		c.Channels[channel] = true
	}
	m.Conns[id] = c
	if user != nil {
		m.Authenticate(id, *user)
	}
}

// Authenticate logs a connection in as a user.
func (m *Model) Authenticate(id string, user User) {
	c := m.Conns[id]
	before := c.User
	c.User = user.ID
	m.clock++
	m.emails[podUser{c.Pod, user.ID}] = email{user.Email, m.clock}
	if before != "" && before != user.ID {
		m.forget(c.Pod, before)
	}
}

// Close removes a connection.
func (m *Model) Close(id string) {
	c := m.Conns[id]
	delete(m.Conns, id)
	m.forget(c.Pod, c.User)
}

// forget drops the e-mail address of a user without a connection to the pod.
func (m *Model) forget(pod Pod, user string) {
	for _, c := range m.Conns {
		if c.Pod == pod && c.User == user {
			return
		}
	}
	delete(m.emails, podUser{pod, user})
}

// Restart removes all connections to a pod.
func (m *Model) Restart(pod Pod) {
	for id, c := range m.Conns {
		if c.Pod == pod {
			m.Close(id)
		}
	}
}

// AllUsers returns the answer of every pod to /message/allusers, by data center.
func (m *Model) AllUsers(s Shape) map[string]DataCenter {
	dcs := make(map[string]DataCenter)
	for _, p := range m.Pods {
		if _, done := dcs[p.DC]; done {
			continue
		}
		dc := DataCenter{}
		var conns []*Conn
		for _, c := range m.Conns {
			if c.Pod.DC != p.DC {
				continue
			}
			conns = append(conns, c)
			if c.User == "" {
				dc.Anonymous++
			}
		}
		users := m.users(conns, s.Raw)
		dc.Authenticated = len(users)
		if s.Include {
			dc.Users = users
		}
		dcs[p.DC] = dc
	}
	return dcs
}

// users lists the users of the connections in the order of their IDs, each with the latest address
// that one of the connections' pods knows. With raw, a user has one entry per connection.
func (m *Model) users(conns []*Conn, raw bool) []User {
	latest, entries := make(map[string]email), make(map[string]int)
	for _, c := range conns {
		if c.User == "" {
			continue
		}
		entries[c.User]++
		if e := m.emails[podUser{c.Pod, c.User}]; e.clock > latest[c.User].clock {
			latest[c.User] = e
		}
	}
	users := []User{}
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		n := 1
		if raw {
			n = entries[id]
		}
		for range n {
			users = append(users, User{ID: id, Email: latest[id].text})
		}
	}
	return users
}

// listeners returns the connections that listen to a channel, on any pod.
func (m *Model) listeners(channel string) []*Conn {
	var conns []*Conn
	for _, c := range m.Conns {
		if c.Channels[channel] {
			conns = append(conns, c)
		}
	}
	return conns
}

// Members lists the users who listen to a channel, on any pod.
func (m *Model) Members(channel string) []User { return m.users(m.listeners(channel), false) }

// Listeners counts the connections that listen to a channel, on any pod.
func (m *Model) Listeners(channel string) int { return len(m.listeners(channel)) }

// Users returns the answer to /message/users about the pods for which of returns true: an anonymous
// channel has its number of listeners (a float64), a private channel a [User] or 1, and any other
// channel a []User.
func (m *Model) Users(of func(Pod) bool) map[string]any {
	answer := make(map[string]any)
	listeners := make(map[string][]*Conn)
	for id, c := range m.Conns {
		if !of(c.Pod) {
			continue
		}
		private := "tab|" + id
		answer[private] = 1.0
		if c.User != "" {
			answer[private] = User{ID: c.User, Email: m.emails[podUser{c.Pod, c.User}].text}
		}
		for channel := range c.Channels {
			listeners[channel] = append(listeners[channel], c)
		}
	}
	for channel, conns := range listeners {
		if IsAnonymous(channel) {
			answer[channel] = float64(len(conns))
		} else {
			answer[channel] = m.users(conns, false)
		}
	}
	return answer
}

// IsAnonymous reports whether a channel is anonymous, by the default rule of Rollcall.
func IsAnonymous(channel string) bool { return strings.HasPrefix(channel, "anonymous") }

func byID(a, b User) int { return cmp.Compare(a.ID, b.ID) }
