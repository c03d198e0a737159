package description

import (
	"slices"
	"sync"
)

// seen are the operations and frames that were checked.
var seen sync.Map

func noteSeen(what string) { seen.Store(what, true) }

// Unseen returns the operations of docs/openapi.yaml that no request has called with success, and
// the messages of docs/asyncapi.yaml that were in no frame, as "POST /users" and "frame joined".
func Unseen() []string {
	var all []string
	s := mustLoad()
	for key := range s.operations {
		all = append(all, key)
	}
	for _, frames := range []map[string]*frame{s.sent, s.received} {
		for _, f := range frames {
			all = append(all, "frame "+f.name)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(what string) bool {
		_, found := seen.Load(what)
		return found
	})
}
