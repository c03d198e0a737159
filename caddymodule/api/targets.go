package api

import (
	"fmt"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/presence"
)

// oneOf returns a problem unless the body has exactly one of the keys.
func (b values) oneOf(which string, keys ...string) *problem.Problem {
	n := 0
	for _, key := range keys {
		if _, present := b[key]; present {
			n++
		}
	}
	if n != 1 {
		return problem.BadValue("%s", which)
	}
	return nil
}

// list returns the 1 to most texts of a key.
func (b values) list(key string, most int, want string) (texts []string, p *problem.Problem) {
	if p := b.decode(key, &texts, want); p != nil {
		return nil, p
	}
	if len(texts) == 0 || len(texts) > most {
		return nil, problem.BadValue("%s must be %s", key, want)
	}
	return texts, nil
}

// targets returns the users and the connections that the body names.
func (b values) targets() (users []string, conns []presence.ID, p *problem.Problem) {
	if users, p = b.users(); p != nil {
		return nil, nil, p
	}
	conns, p = b.connections()
	return users, conns, p
}

// requiredUsers returns the IDs of 1 to 1,000 users.
func (b values) requiredUsers() ([]string, *problem.Problem) {
	users, p := b.users()
	if users == nil && p == nil {
		p = problem.BadValue("users must be an array of 1 to %d IDs", presence.MaxUsers)
	}
	return users, p
}

// users returns the IDs of users, or nil if the key is absent.
func (b values) users() (users []string, p *problem.Problem) {
	if _, present := b["users"]; !present {
		return nil, nil
	}
	want := fmt.Sprintf("an array of 1 to %d IDs", presence.MaxUsers)
	if users, p = b.list("users", presence.MaxUsers, want); p != nil {
		return nil, p
	}
	for i, id := range users {
		if err := presence.CheckUserID(id); err != nil {
			return nil, problem.BadValue("users[%d] %s: send the ID of a user, of 1 to %d bytes", i, err, presence.MaxUserID)
		}
	}
	return users, nil
}

// connections returns the IDs of connections, or nil if the key is absent.
func (b values) connections() (ids []presence.ID, p *problem.Problem) {
	if _, present := b["connections"]; !present {
		return nil, nil
	}
	want := fmt.Sprintf("an array of 1 to %d IDs of connections, which their welcome has", presence.MaxUsers)
	texts, p := b.list("connections", presence.MaxUsers, want)
	if p != nil {
		return nil, p
	}
	ids = make([]presence.ID, len(texts))
	for i, text := range texts {
		id, ok := presence.ParseID(text)
		if !ok || id == (presence.ID{}) {
			return nil, problem.BadValue("connections[%d] is not the ID of a connection, which its welcome has: 22 characters", i)
		}
		ids[i] = id
	}
	return ids, nil
}

// checkTarget returns a problem for a name in the value of a key that no channel can have.
func (q request) checkTarget(key, name string) *problem.Problem {
	err := q.site.Rules().CheckTarget(name)
	if err == nil {
		return nil
	}
	p := problem.BadValue("%s has a name that no channel can have: %s", key, err)
	if isReplaced(name) {
		p.Code = "bad_channel"
	}
	return p
}
