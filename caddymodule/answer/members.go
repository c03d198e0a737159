package answer

import (
	"bytes"

	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Members returns the JSON objects that the plugins make of the users, in their order. A user that they
// leave out is nil. After a failure, it returns nil.
func (a *Plugins) Members(users []presence.User) [][]byte {
	rest := users
	m := a.members(func() (plugins.User, bool) {
		if len(rest) == 0 {
			return plugins.User{}, false
		}
		u := &rest[0]
		rest = rest[1:]
		return plugins.User{ID: u.ID, Email: u.Email, Info: u.Info, Status: u.Status}, true
	})
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
