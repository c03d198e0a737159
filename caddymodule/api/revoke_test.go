package api

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// disconnects counts the disconnects of this pod.
type disconnects int

func (n *disconnects) Disconnect(presence.HostName, string, *cluster.Call) int { *n++; return 7 }
func (n *disconnects) Leave(presence.HostName, *cluster.Call) int              { return 0 }

// What cannot be revoked is not disconnected either.
func TestRevokeFailsAsAWhole(t *testing.T) {
	portal := testkit.MustHost(t, "portal.example.com")
	full := make([]string, assignment.MaxRevokedOfHost)
	for i := range full {
		full[i] = fmt.Sprintf("user-%d", i)
	}
	for name, test := range map[string]struct {
		users  []string // that are revoked before
		file   string   // in the folder
		detail string   // "" if it succeeds
		retry  time.Duration
	}{
		"works":               {file: "assignments.db"},
		"too many":            {users: full, file: "assignments.db", detail: "nothing was done: too many revocations", retry: time.Minute},
		"one that is known":   {users: append(slices.Clone(full[1:]), "ada"), file: "assignments.db"},
		"no file can be made": {file: "\x00", detail: "nothing was done: the server's log says why", retry: assign.RetryEvery},
	} {
		t.Run(name, func(t *testing.T) {
			k := assign.NewKeeper(filepath.Join(t.TempDir(), test.file), presence.NewRegistry(wire.Encoder{}), func(*presence.Conn) bool { return true }, zap.NewNop())
			t.Cleanup(func() { _ = k.Close() })
			if test.users != nil {
				if _, err := k.Change(func(b *assignment.Book) ([]assignment.Record, error) {
					return b.Revoke(portal, test.users, 1, time.Hour)
				}); err != nil {
					t.Fatal(err)
				}
			}
			var n disconnects
			s := New(Config{
				Assignments: k, Local: &n,
				PodsToAsk: func(*site.Site, cluster.Scope) (Pods, cluster.Truth) {
					return nil, cluster.Truth{Complete: true, Missing: []string{"b/2"}}
				},
				Spread: func(_ context.Context, _ *site.Site, host presence.HostName, records []assignment.Record) cluster.Truth {
					if host != portal || len(records) != 1 || records[0].User != "ada" || n != 0 {
						t.Errorf("%d disconnects before the records %+v are sent", n, records)
					}
					return cluster.Truth{Missing: []string{"c/1", "b/2"}}
				},
			})
			st := &site.Site{Revocation: time.Hour}
			body, _ := parseRequest([]byte(`{"users":["ada"],"revoke":true}`))
			r, p := s.disconnect(t.Context(), request{site: st, host: portal, body: body})
			if test.detail != "" {
				if p == nil || p.Status != http.StatusServiceUnavailable || p.Code != "unavailable" || !strings.Contains(p.Detail, test.detail) || p.Retry != test.retry || n != 0 {
					t.Errorf("problem %+v, %d disconnects", p, n)
				}
				return
			}
			if p != nil || string(r.body) != `{"disconnected":7}` || r.truth.Complete || !slices.Equal(r.truth.Missing, []string{"b/2", "c/1"}) || n != 1 {
				t.Errorf("%s, %+v, problem %+v, %d disconnects", r.body, r.truth, p, n)
			}
		})
	}
}
