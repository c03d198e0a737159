package authorize

import (
	"fmt"
	"testing"
)

// BenchmarkGranted measures one look at the kept answers. A reload does it for each listener of a
// channel that needs a grant, with the host's lock held.
func BenchmarkGranted(b *testing.B) {
	a, _ := newAsker(b)
	var s answers
	s.text.Store(`{"allow":true}`)
	to := serve(b, s.ServeHTTP)
	g := Granter{Asker: a, To: to}
	q := question(b, "ada", "team-1")
	q.User.Info = `{"name":"Ada Lovelace","avatar":"https://example.com/avatars/ada.png","roles":["admin","author"]}`
	mustAsk(b, a, to, q)
	for _, channel := range []string{"team-1", "team-2"} {
		b.Run(fmt.Sprintf("kept=%t", channel == q.Channel), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Granted(q.Host, channel, q.User)
			}
		})
	}
}
