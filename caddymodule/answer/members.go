package answer

import (
	"bytes"

	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Members returns the JSON objects that the plugins make of the users, in their order. A user that
// they leave out is nil. After a failure, it returns nil.
func (a *Plugins) Members(users []presence.User) [][]byte {
	m := a.members(each(users, func(u *presence.User) plugins.User {
		return plugins.User{ID: u.ID, Email: u.Email, Info: u.Info, Status: u.Status}
	}))
	objects := make([][]byte, len(users))
	for i := range objects {
		object, err := m.Next()
		if err != nil {
			a.setError(err)
			return nil
		}
		objects[i] = bytes.Clone(object) // valid until the next one; nil stays nil
	}
	if a.checkEnd(m); a.err != nil {
		return nil
	}
	return objects
}

// each returns a function that returns the users of a list one by one, as plugins see them, then
// false.
func each[T any](list []T, seen func(*T) plugins.User) func() (plugins.User, bool) {
	return func() (plugins.User, bool) {
		if len(list) == 0 {
			return plugins.User{}, false
		}
		u := &list[0]
		list = list[1:]
		return seen(u), true
	}
}
