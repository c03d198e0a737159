package gateway

import (
	"runtime"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rollcall-gateway/rollcall/presence"
)

// A grant of the backend ends at its end, also if a token has granted the channel meanwhile.
func TestGrantBehindATokenEnds(t *testing.T) {
	const minute = `{"allow":true,"expires_in":60}`
	for _, test := range []struct {
		name  string
		first func(d judged) // joins team-a by what a token grants
		wait  time.Duration  // until a token that grants nothing
		stays time.Duration  // from then on, at most
	}{
		{"kept answer takes over", func(d judged) {
			d.loginFor("ada", "team-*")
			d.say(`{"type":"join","channel":"team-a"}`)
			d.wants(`"type":"joined"`)
			user := presence.User{ID: "ada"} // another connection of the user asks
			if _, err := d.session.hub.Asker.Ask(d.t.Context(), d.site.Authorize, d.session.question(user, "team-a")); err != nil {
				d.t.Fatal(err)
			}
		}, 0, time.Minute},
		{"ended meanwhile", func(d judged) {
			d.say(`{"type":"join","channel":"team-a"}`)
			d.wants(`"type":"joined"`)
			d.loginFor("ada", "team-*")
		}, 2 * time.Minute, 0},
		{"not ended yet", func(d judged) {
			d.say(`{"type":"join","channel":"team-a"}`)
			d.wants(`"type":"joined"`)
			d.loginFor("ada", "team-*")
		}, 50 * time.Second, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inCourt(t, func(t *testing.T, d judged) {
				d.set("team-a", minute)
				test.first(d)
				d.set("team-a", "down")
				time.Sleep(test.wait)
				start := time.Now()
				d.login("ada")
				go func() { // only the answer to it comes if the grant never ends
					time.Sleep(10 * time.Minute)
					d.say(`{"type":"ping"}`)
				}()
				d.wantsAll(`"type":"authenticated"`, `{"type":"left","channel":"team-a","reason":"denied"}`)
				if took := time.Since(start); took > test.stays {
					t.Errorf("left after %s", took)
				}
				if !t.Failed() { // otherwise it has been read
					d.wants(`"type":"pong"`)
				}
			})
		})
	}
}

// An answer that is forgotten between its arrival and its use is not used.
func TestForgottenRenewalIsNotUsed(t *testing.T) {
	inCourt(t, func(t *testing.T, d judged) {
		d.set("team-a", `{"allow":true,"expires_in":60}`)
		d.say(`{"type":"join","channel":"team-a"}`)
		d.wants(`"type":"joined"`)
		start := time.Now()
		user, _ := d.session.conn.User()
		q := d.session.question(user, "team-a")
		time.Sleep(35 * time.Second) // the first answer is no longer kept
		d.judge.mu.Lock()
		d.first = func() {
			d.session.mu.Lock() // the answer waits for it
			d.set("team-a", `{"allow":false}`)
			go func() {
				defer d.session.mu.Unlock()
				for _, kept := d.session.hub.Asker.Kept(d.site.Authorize, q); !kept; {
					runtime.Gosched()
					_, kept = d.session.hub.Asker.Kept(d.site.Authorize, q)
				}
				d.session.hub.ForgetGrants(d.session.tenant.name, []string{"ada"})
			}()
		}
		d.judge.mu.Unlock()
		d.wants(`{"type":"left","channel":"team-a","reason":"denied"}`)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("left after %s", took)
		}
	})
}

// loginFor logs in with a token that grants the channels of a pattern.
func (d judged) loginFor(user, pattern string) {
	d.t.Helper()
	d.say(`{"type":"authenticate","token":"` + signed(d.t, jwt.MapClaims{"sub": user, "channels": []string{pattern}}) + `"}`)
	d.wants(`"type":"authenticated"`)
}
