package presence

import (
	"testing"
	"testing/synctest"
)

// A member that is back within its grace period, by a membership with an identity, can be lost
// again.
func TestGraceOfIdentities(t *testing.T) {
	for name, info := range map[string]string{"the same": `{"n":1}`, "another description": `{"n":2}`} {
		removed := `presence room seq=2 count=1 -a[{"n":1}]`
		if info != `{"n":1}` {
			removed = `presence room seq=3 count=1 -a[{"n":2}]`
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watcher := graced(t, Class{Kind: Authenticated})
				watcher.heard()
				enter := func(info string) *client {
					c := w.connect("")
					if err := c.Enter("room", Entry{Proof: true, Member: &Identity{ID: "a", Info: info}}); err != nil {
						t.Fatal(err)
					}
					pass(testGrace / 3)
					return c
				}
				first := enter(`{"n":1}`)
				watcher.hears(`presence room seq=1 count=2 +a[{"n":1}]`)
				first.Close()
				pass(testGrace / 2)
				back := enter(info)
				pass(2 * testGrace)
				watcher.heard() // the other description
				back.Close()
				pass(testGrace / 2)
				watcher.hears()
				pass(testGrace)
				watcher.hears(removed)
			})
		})
	}
}
