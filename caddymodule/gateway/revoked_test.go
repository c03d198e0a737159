package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// revocationList is a list of revocations of one user.
type revocationList struct {
	upTo    int64         // Unix seconds; 0 if there is none
	since   time.Duration // how long it has been made
	asked   int           // questions so far
	clean   int           // questions that are answered as if there was none
	unready bool          // it is never known
}

func (r *revocationList) AwaitRevocations(ctx context.Context, _ presence.HostName, _ bool) error {
	if r.unready {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (r *revocationList) Revoked(_ presence.HostName, user string, issued int64) (time.Duration, bool) {
	r.asked++
	return r.since, r.upTo != 0 && r.asked > r.clean && user == "USER_1" && issued <= r.upTo
}

var portal = func() presence.HostName {
	h, err := presence.ParseHostName("portal.example.com")
	if err != nil {
		panic(err)
	}
	return h
}()

// Every way to log in by a token refuses a revoked one: for now at first, and then for good.
func TestRevokedTokenIsRefused(t *testing.T) {
	const moment, later = 9999 * time.Millisecond, 10 * time.Second
	for name, tt := range map[string]struct {
		claims     jwt.MapClaims // with iat, seconds from the revocation
		list       revocationList
		code       string // "" if accepted
		byCookie   string
		retryAfter string
	}{
		"not revoked":                   {claims: jwt.MapClaims{"iat": -60}},
		"issued before":                 {claims: jwt.MapClaims{"iat": -60}, list: revocationList{upTo: 1, since: later}, code: "bad_token"},
		"issued before, a moment ago":   {claims: jwt.MapClaims{"iat": -60}, list: revocationList{upTo: 1, since: moment}, code: "unavailable", byCookie: "unavailable", retryAfter: "1"},
		"issued in the second":          {claims: jwt.MapClaims{"iat": 0.9}, list: revocationList{upTo: 1, since: later}, code: "bad_token"},
		"issued after":                  {claims: jwt.MapClaims{"iat": 1}, list: revocationList{upTo: 1, since: moment}},
		"no iat":                        {claims: jwt.MapClaims{}, list: revocationList{upTo: 1, since: later}, code: "bad_token"},
		"no iat, a moment ago":          {claims: jwt.MapClaims{}, list: revocationList{upTo: 1, since: moment}, code: "unavailable", byCookie: "unavailable", retryAfter: "1"},
		"iat of 1970":                   {claims: jwt.MapClaims{"iat": -1e12}, list: revocationList{upTo: 1, since: later}, code: "bad_token"},
		"another user":                  {claims: jwt.MapClaims{"sub": "USER_2"}, list: revocationList{upTo: 1, since: later}},
		"the list is not known in time": {claims: jwt.MapClaims{"iat": 1}, list: revocationList{unready: true}, code: "unavailable", byCookie: "unavailable", retryAfter: "5"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now().Add(-time.Minute).Unix()
				claims := jwt.MapClaims{"sub": "USER_1"}
				maps.Copy(claims, tt.claims)
				switch iat := claims["iat"].(type) {
				case int:
					claims["iat"] = start + int64(iat)
				case float64:
					claims["iat"] = max(0, float64(start)+iat)
				}
				if tt.list.upTo != 0 {
					tt.list.upTo = start
				}
				raw, st := signed(t, claims), siteWithTokens(t)
				st.Revocations = &tt.list

				d := talk(t, st, nil)
				want := `"type":"authenticated"`
				if tt.code != "" {
					want = `"code":"` + tt.code + `"`
				}
				if got := d.ask(`{"type":"authenticate","token":"` + raw + `"}`); !strings.Contains(got, want) {
					t.Errorf("authenticate: got %s, want %s", got, want)
				}
				if _, in := d.session.conn.User(); in != (tt.code == "") {
					t.Errorf("it is logged in: %v", in)
				}
				for header, code := range map[[2]string]string{
					{"Authorization", "Bearer " + raw}:       tt.code,
					{"Cookie", "rollcall_token=" + raw}:      tt.byCookie,
					{"Cookie", "a=b; rollcall_token=" + raw}: tt.byCookie,
				} {
					r := httptest.NewRequest(http.MethodGet, "http://portal.example.com/message/socket", http.NoBody)
					r.Header.Set(header[0], header[1])
					who, p := st.Login(r, portal)
					switch {
					case code == "" && p != nil, code != "" && (p == nil || p.Code != code):
						t.Errorf("%s: problem %+v, want %q", header[0], p, code)
					case (who.User != nil) != (tt.code == ""):
						t.Errorf("%s: logged in as %+v", header[0], who.User)
					case code == "unavailable" && fmt.Sprint(p.Retry.Seconds()) != tt.retryAfter:
						t.Errorf("%s: retry after %s", header[0], p.Retry)
					}
				}
			})
		})
	}
}

// A revocation that comes after the token was checked, and before the connection is known, is seen
// when it is.
func TestLoginLooksAtRevocationsAgain(t *testing.T) {
	for _, since := range []time.Duration{0, time.Minute} {
		want := "close 4110 token revoked"
		if since > 0 {
			want = "close 4002 token revoked"
		}
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := siteWithTokens(t)
				list := &revocationList{upTo: time.Now().Unix(), since: since, clean: 1}
				st.Revocations = list
				d := talk(t, st, nil)
				got := d.ask(`{"type":"authenticate","token":"` + signed(t, jwt.MapClaims{"sub": "USER_1"}) + `"}`)
				if got != want {
					t.Errorf("authenticate: got %s, want %s", got, want)
				}
				if got := d.ended(); got[socket.ReasonDisconnected] != 1 {
					t.Errorf("counted as %v", got)
				}
				list.asked = list.clean
				_, err := d.session.hub.connect(new(socket.Conn), portal, st, site.Login{User: &presence.User{ID: "USER_1"}, Issued: 1}, netip.Prefix{}, Native{})
				if fmt.Sprintf("close %d %s", refusalOf(err), revokedReason) != want || !errors.Is(err, site.ErrRevoked) && !errors.Is(err, site.ErrJustRevoked) {
					t.Errorf("connecting: %v", err)
				}
			})
		})
	}
}

// What a disconnect has not reached is closed when the revocation is known for a while: of the
// user, and by tokens that are revoked.
func TestLateRevocationClosesWhatIsThere(t *testing.T) {
	for name, late := range map[string]time.Duration{"on time": 0, "late": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				st := siteWithTokens(t)
				old, fresh := signed(t, jwt.MapClaims{"sub": "USER_1", "iat": start.Unix()}), signed(t, jwt.MapClaims{"sub": "USER_1", "iat": start.Unix() + 6})
				d := talk(t, st, nil)
				h := d.session.hub
				st.Revocations = h
				of := &Configuration{Owners: ownsAll{st}, Logger: zap.NewNop(), Retired: st.Retired}
				h.Offer(of)
				defer h.TakeBack(of)
				time.Sleep(2 * time.Second) // iat of the fresh token is not in the future
				if got := d.ask(`{"type":"authenticate","token":"` + old + `"}`); !strings.Contains(got, `"authenticated"`) {
					t.Fatal(got)
				}
				var others []*dialogue
				for _, s := range []struct {
					user *presence.User
					raw  string
				}{{user: &presence.User{ID: "USER_1"}}, {raw: fresh}, {raw: signed(t, jwt.MapClaims{"sub": "USER_2"})}} {
					o := talkOn(t, h, st, s.user)
					if s.raw != "" {
						if got := o.ask(`{"type":"authenticate","token":"` + s.raw + `"}`); !strings.Contains(got, `"authenticated"`) {
							t.Fatal(got)
						}
					}
					others = append(others, o)
				}
				made := uint64(start.Add(-late).UnixMilli())
				revoked := time.Now()
				_, _ = h.Assignments.Book.Merge([]assignment.Record{{ // there is no file to keep it
					Host: portal, User: "USER_1", Kind: assignment.KindRevocation, Version: assignment.Version{Clock: made << 16},
					Value: uint64(start.Unix()) + 5, Until: uint64(start.Add(time.Hour).UnixMilli()),
				}})
				if got := d.read(); got != "close 4002 token revoked" {
					t.Errorf("got %s", got)
				}
				want := max(0, lateRevocation-2*time.Second-late)
				if took := time.Since(revoked); took != want {
					t.Errorf("it was closed after %s, want %s", took, want)
				}
				for i, o := range others {
					if got := o.ask(`{"type":"ping"}`); !strings.Contains(got, "pong") {
						t.Errorf("connection %d got %s", i, got)
					}
				}
			})
		})
	}
}

// A pod that starts lets nobody in by a token until it knows what is revoked, for some seconds at
// most.
func TestTokensWaitForRevocations(t *testing.T) {
	const never = time.Hour
	for _, test := range []struct {
		name   string
		alone  bool
		joined time.Duration // time from the start until the cluster is joined
		begins time.Duration // time from the start until the pod has what others have of the host
		locked time.Duration // time from the start until the file can be opened
		want   time.Duration
	}{
		{name: "alone", alone: true},
		{name: "joined", joined: 1500 * time.Millisecond, want: 1500 * time.Millisecond},
		{name: "begins to serve the host", joined: 500 * time.Millisecond, begins: 700 * time.Millisecond, want: 700 * time.Millisecond},
		{name: "lacks the revocations of the host", joined: time.Millisecond, begins: never, want: maxStarting + startPoll},
		{name: "reaches nobody", joined: never, want: maxStarting},
		{name: "another process has the file for a moment", alone: true, locked: 2300 * time.Millisecond, want: 2500 * time.Millisecond},
		{name: "another process keeps the file", alone: true, locked: never, want: maxStarting},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, of := newTestHub(t), testSite()
				of.Clustered = !test.alone
				pods := new(joiningPods)
				h.StartPods = func(cluster.Config) (Pods, error) { return pods, nil }
				c := &Configuration{Owners: ownsAll{of}, Logger: zap.NewNop(), Retired: of.Retired}
				if !test.alone {
					c.Cluster = &ClusterSettings{Sum: [32]byte{1}}
				}
				other, err := assignment.OpenFile(filepath.Join(h.cfg.Folder, "assignments.db"))
				if err != nil {
					t.Fatal(err)
				}
				closeOther := func() { _ = other.Close() }
				if test.locked == 0 {
					closeOther()
				}
				defer closeOther()

				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if err := h.AwaitRevocations(ctx, portal, of.Clustered); errors.Is(err, context.DeadlineExceeded) != (test.want > 0) {
					t.Errorf("before the start: %v", err)
				}
				cancel()
				start := time.Now()
				if test.locked > 0 {
					defer time.AfterFunc(test.locked, closeOther).Stop()
				}
				h.Offer(c)
				pods.begins.Store(test.begins > 0)
				defer time.AfterFunc(test.begins, func() { pods.begins.Store(false) }).Stop()
				defer time.AfterFunc(test.joined, func() { pods.ready.Store(true) }).Stop()
				for range 3 {
					go func() {
						if err := h.AwaitRevocations(t.Context(), portal, of.Clustered); err != nil {
							t.Error(err)
						}
						if took := time.Since(start); took < test.want || took > test.want+2*startPoll {
							t.Errorf("it took %s, want %s", took, test.want)
						}
					}()
				}
				time.Sleep(test.want + time.Second)
				synctest.Wait()
				if h.starts.wait != nil {
					t.Error("it still looks at the start")
				}
				h.TakeBack(c)
				if err := h.Destruct(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The file is read before the first login of a pod that is alone looks into the book.
func TestRevocationsOutliveTheProcess(t *testing.T) {
	folder := t.TempDir()
	start := func() (*Hub, *Configuration) {
		h, of := New(Config{Folder: folder, Exiting: func() bool { return true }}), testSite()
		c := &Configuration{Owners: ownsAll{of}, Logger: zap.NewNop(), Retired: of.Retired}
		h.Offer(c)
		return h, c
	}
	end := func(h *Hub, c *Configuration) {
		h.TakeBack(c)
		if err := h.Destruct(); err != nil {
			t.Error(err)
		}
	}
	h, c := start()
	_, err := h.Assignments.Change(func(b *assignment.Book) ([]assignment.Record, error) {
		return b.Revoke(portal, []string{"USER_1"}, 0, time.Hour)
	})
	end(h, c)
	if err != nil {
		t.Fatal(err)
	}
	h, c = start()
	defer end(h, c)
	if err := h.AwaitRevocations(t.Context(), portal, false); err != nil {
		t.Error(err)
	}
	if _, revoked := h.Revoked(portal, "USER_1", time.Now().Unix()); !revoked {
		t.Error("it is forgotten")
	}
}

// A session takes no more memory than before it knew of tokens.
func TestSizeOfASession(t *testing.T) {
	if size := unsafe.Sizeof(Session{}); size > 112 {
		t.Errorf("%d bytes, which take a larger size class than 112", size)
	}
}
