package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/operator"
	"github.com/rollcall-gateway/rollcall/caddymodule/pluginhost"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// manyHosts are hosts with one connection each.
func manyHosts(n int) operator.Hosts {
	all := operator.Hosts{Truth: operator.Truth{Complete: true, Missing: []string{}}}
	for i := range n {
		all.Hosts = append(all.Hosts, operator.Host{Host: fmt.Sprintf("h%05d.example.com", i), Connections: 1, Anonymous: 1})
	}
	return all
}

func decode(t *testing.T, text string) (snap snapshot) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &snap); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return snap
}

func TestHostsComeInPages(t *testing.T) {
	s := newScene(t)
	s.hosts = manyHosts(10_000)
	seen, after := 0, ""
	for range 3 {
		snap := decode(t, s.view(t, "view=hosts&filter=h0&after="+after))
		if snap.Totals != (totals{10_002, 10_000, 0, 10_000}) { // with the named ones
			t.Fatalf("totals %+v", snap.Totals)
		}
		seen += len(snap.Hosts.Hosts)
		after = snap.Hosts.Next
	}
	if seen != 3*pageRows || after != "h00149.example.com" {
		t.Errorf("%d hosts, then %q", seen, after)
	}
	if snap := decode(t, s.view(t, "view=hosts&filter=NAMED")); len(snap.Hosts.Hosts) != 1 || snap.Hosts.Hosts[0].Host != "named.example.com" {
		t.Errorf("filtered: %+v", snap.Hosts)
	}
}

// TestASiteSeesItsOwnHostsOnly asks for each view of a console that shows one host of many.
func TestASiteSeesItsOwnHostsOnly(t *testing.T) {
	s := newScene(t)
	s.hosts = manyHosts(60)
	s.reports = []plugins.Report{
		{Name: "mine", Hosts: []plugins.HostReport{{Host: "h00003.example.com"}, {Host: "h00004.example.com"}}},
		{Name: "theirs", Hosts: []plugins.HostReport{{Host: "h00004.example.com"}}},
		// Another site's file with the same name, whose instances serve all hosts.
		{Name: "mine", SHA256: "a.example.com", Hosts: []plugins.HostReport{{LastFailure: "theirs"}}},
		// Instances that serve other sites, too.
		{Name: "mine", Path: "common", Shared: true, Hosts: []plugins.HostReport{{LastFailure: "the guest said: theirs"}}},
	}
	s.calls = []pluginhost.Calls{{Plugin: "mine", Host: "h00003.example.com"}, {Plugin: "mine", Host: "h00004.example.com"}, {Plugin: "theirs", Host: "h00003.example.com"}, {Plugin: "mine", Host: pluginhost.SharedHosts, Hook: "h00004"}, {Plugin: "mine", Host: pluginhost.OtherHosts}}
	own := testkit.MustHost(t, "h00003.example.com")
	s.visit.All, s.visit.Sees = false, func(host presence.HostName) bool { return host == own }
	s.visit.Loads = func(r *plugins.Report) bool { return r.Name == "mine" && r.SHA256 == "" }
	s.visit.Alone = func(r *plugins.Report) bool { return r.Path != "common" }
	for _, view := range []string{
		"hosts", "traffic", "plugins", "queues", "cluster", "host&host=h00003.example.com", "host&host=h00004.example.com",
		"channel&channel=room&host=h00004.example.com", "user&user=ada&host=h00004.example.com",
	} {
		text := s.view(t, "view="+view)
		for _, secret := range []string{"h00004", "theirs", "_other", ":77", "a.example.com"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q: %s", view, secret, text)
			}
		}
		if snap := decode(t, text); snap.Totals != (totals{1, 1, 0, 1}) {
			t.Errorf("%s: totals %+v", view, snap.Totals)
		} else if foreign := strings.Contains(view, "h00004"); foreign != (snap.Error != "") {
			t.Errorf("%s: error %q", view, snap.Error)
		}
	}
	for _, view := range []string{"hosts", "plugins"} {
		if text := s.view(t, "view="+view); !strings.Contains(text, "h00003") {
			t.Errorf("%s does not show the site's own host: %s", view, text)
		}
	}
}

func TestASnapshotSaysWhatIsMissing(t *testing.T) {
	s := newScene(t)
	s.hosts = operator.Hosts{Truth: operator.Truth{Missing: []string{"dc/gone"}}}
	snap := decode(t, s.view(t, "view=host&host=a.example.com&filter=room"))
	if snap.Complete || strings.Join(snap.Missing, " ") != "dc/gone dc/silent" {
		t.Errorf("complete %v, missing %q", snap.Complete, snap.Missing)
	}
	if n := len(snap.Channels.Channels); n != pageRows {
		t.Errorf("%d channels on a page, want %d", n, pageRows)
	}
	for view, want := range map[string]string{
		"channel&channel=room": "Nobody is in this channel, or it is hidden.",
		"user&user=ada":        "A plugin failed, so nobody is shown: see the server's log.",
	} {
		if snap := decode(t, s.view(t, "host=a.example.com&view="+view)); snap.Error != want {
			t.Errorf("%s: error %q", view, snap.Error)
		}
	}
	if snap := decode(t, s.view(t, "view=traffic")); len(snap.Traffic.Hosts) != pageRows || snap.Traffic.More != 71 {
		t.Errorf("%d rows and %d more", len(snap.Traffic.Hosts), snap.Traffic.More)
	}
}

func TestStreamsAreFew(t *testing.T) {
	s := newScene(t)
	s.hosts = manyHosts(1)
	open := make([]*http.Response, maxUserStreams)
	for i := range open {
		open[i] = s.get(t, "/events?view=hosts")
		if open[i].StatusCode != http.StatusOK {
			t.Fatalf("stream %d has status %s", i, open[i].Status)
		}
	}
	if resp := s.get(t, "/events?view=hosts"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("one stream too many has status %s", resp.Status)
	}
	_ = open[0].Body.Close()
	testkit.Eventually(t, "room for another", func() bool { return s.get(t, "/events?view=hosts").StatusCode == http.StatusOK })

	var held []func()
	for i := range 10 * maxStreams {
		release, ok := s.server.admit(&Visit{User: fmt.Sprint("user", i)})
		if ok {
			held = append(held, release)
		}
	}
	if len(held) > maxSiteStreams-maxUserStreams {
		t.Errorf("%d more streams of others, want at most %d of one site together", len(held), maxSiteStreams)
	}
	for i := range 10 * maxStreams {
		if release, ok := s.server.admit(&Visit{User: "ada", Site: i}); ok {
			held = append(held, release)
		} else if i == 0 {
			t.Error("a user of another site with the same ID gets no stream")
		}
	}
	if len(held) > maxStreams-1 {
		t.Errorf("%d more streams, want at most %d together", len(held), maxStreams)
	}
	for _, release := range held {
		release()
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if n := len(s.server.byUser); n > 1 {
		t.Errorf("%d users are remembered, want one", n)
	}
	if n := len(s.server.bySite); n > 1 {
		t.Errorf("%d sites are remembered, want one", n)
	}
}

// TestAddressesOfOneClientShareStreams opens streams without a user: a client has all addresses of
// an IPv6 /64.
func TestAddressesOfOneClientShareStreams(t *testing.T) {
	s := New(Config{})
	client := netip.MustParsePrefix("2001:db8::/64")
	for i := range maxUserStreams + 1 {
		_, ok := s.admit(&Visit{Client: fmt.Sprintf("2001:db8::%x", i), Net: client})
		if want := i < maxUserStreams; ok != want {
			t.Errorf("stream %d: %v", i, ok)
		}
	}
	if _, ok := s.admit(&Visit{Client: "2001:db8:0:1::1", Net: netip.MustParsePrefix("2001:db8:0:1::/64")}); !ok {
		t.Error("another client gets no stream")
	}
}

func TestLabelsOfSeveralHostsAreNoHosts(t *testing.T) {
	v := Visit{Sees: func(presence.HostName) bool { return true }} // as on a site for every host
	for label, want := range map[string]bool{
		pluginhost.OtherHosts: false, pluginhost.SharedHosts: false, "_x.example.com": false, "a.example.com": true, "": false,
	} {
		if v.seesLabel(label) != want {
			t.Errorf("%q: want %v", label, want)
		}
	}
	v.All = true
	if !v.seesLabel(pluginhost.OtherHosts) {
		t.Error("a console of all hosts does not see the others")
	}
}

// TestStreamsShareTheHosts checks that the pods are asked for all hosts once in a while, however
// many pages ask.
func TestStreamsShareTheHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{hosts: manyHosts(3)}
		s := New(Config{Operator: f, Pod: f})
		for want := 1; want <= 3; want++ {
			for range maxStreams {
				s.hosts.get(t.Context(), &s.cfg)
			}
			if f.asked != want {
				t.Fatalf("asked %d times, want %d", f.asked, want)
			}
			time.Sleep(interval)
		}
	})
}

// slowPods is a fake whose hosts take some time, because a pod does not reply.
type slowPods struct {
	*fake
	took time.Duration
}

func (p slowPods) Hosts(ctx context.Context, sees func(presence.HostName) bool) operator.Hosts {
	time.Sleep(p.took)
	return p.fake.Hosts(ctx, sees)
}

// flushes records when a response is flushed, and what it has then.
type flushes struct {
	*httptest.ResponseRecorder
	at   []time.Time
	text []string
}

func (f *flushes) Flush() {
	f.at, f.text = append(f.at, time.Now()), append(f.text, f.Body.String())
	f.Body.Reset()
}

// TestAPageKnowsHowOldItsNumbersAre has a pod that does not reply, or so many users that a snapshot
// takes its time. The page takes silence for a server that does not answer, see stream.js.
func TestAPageKnowsHowOldItsNumbersAre(t *testing.T) {
	const took = 3 * time.Second
	for _, complete := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := slowPods{&fake{hosts: manyHosts(3)}, took}
			f.hosts.Complete = complete
			s := New(Config{Operator: f, Pod: f, Draining: func() bool { return false }})
			ctx, end := context.WithTimeout(t.Context(), time.Minute)
			defer end()
			w, last := &flushes{ResponseRecorder: httptest.NewRecorder()}, time.Now()
			sees := func(presence.HostName) bool { return true }
			s.Serve(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/events?view=hosts", nil), "/events", Visit{All: true, Sees: sees})
			snapshots := make(map[int64]bool)
			for i, at := range w.at {
				var b beat
				if _, err := fmt.Sscanf(w.text[i], "event: beat\ndata: {\"at\":%d,\"stale\":%d}", &b.At, &b.Stale); err != nil {
					t.Fatalf("%q: %v", w.text[i], err)
				}
				snapshots[b.At] = true
				if gap := at.Sub(last); i > 0 && gap > 2*interval || b.Stale != at.UnixMilli()-b.At {
					t.Errorf("%v after the event before: %q, of %v", gap, w.text[i], at.UnixMilli()-b.At)
				}
				last = at
			}
			// With all pods, the server works for 3 of 18 s. If it waits for a pod, it asks again
			// soon.
			if n := len(snapshots); complete && n > 4 || !complete && n < 8 {
				t.Errorf("%d snapshots in a minute, complete %t", n, complete)
			}
		})
	}
}

// TestAPanicEndsOneStream makes a snapshot that panics. The server ends the request of a handler
// that does.
func TestAPanicEndsOneStream(t *testing.T) {
	s := newScene(t)
	s.visit.Sees = func(presence.HostName) bool { panic("a bug") }
	s.hosts = manyHosts(1)
	defer func() {
		if recover() != "a bug" {
			t.Error("the handler does not panic")
		}
	}()
	s.server.Serve(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events?view=hosts", nil), "/events", s.visit)
}

func TestAStreamEndsWithItsServer(t *testing.T) {
	s := newScene(t)
	ended := make(chan struct{})
	s.visit.Ended = ended
	resp := s.get(t, "/events?view=hosts")
	close(ended)
	buf := make([]byte, 4096)
	for {
		if _, err := resp.Body.Read(buf); err != nil {
			return // otherwise the test times out
		}
	}
}

func TestBadQueriesAreRefused(t *testing.T) {
	s := newScene(t)
	long := strings.Repeat("x", presence.MaxChannelName+1)
	for name, c := range map[string]struct {
		query  string
		header []string
		status int
	}{
		"no view":          {"", nil, http.StatusBadRequest},
		"an unknown view":  {"view=secrets", nil, http.StatusBadRequest},
		"no host":          {"view=host", nil, http.StatusBadRequest},
		"a bad host":       {"view=host&host=" + url.QueryEscape("a b"), nil, http.StatusBadRequest},
		"no channel":       {"view=channel&host=a.example.com", nil, http.StatusBadRequest},
		"a long user":      {"view=user&host=a.example.com&user=" + long, nil, http.StatusBadRequest},
		"a long filter":    {"view=hosts&filter=" + long, nil, http.StatusBadRequest},
		"another site":     {"view=hosts", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"a sibling domain": {"view=hosts", []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"the page":         {"view=hosts", []string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			if resp := s.get(t, "/events?"+c.query, c.header...); resp.StatusCode != c.status {
				t.Errorf("status %s, want %d", resp.Status, c.status)
			}
		})
	}
}

// FuzzQuery checks that no query makes it panic, or gets through with a value that is too long.
func FuzzQuery(f *testing.F) {
	f.Add("view=channel&host=a.example.com&channel=room&after=ada")
	f.Add("view=hosts&filter=%ff")
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, p := readQuery(values)
		if p == nil && (len(q.filter) > presence.MaxChannelName || len(q.after) > presence.MaxChannelName || len(q.channel) > presence.MaxChannelName) {
			t.Errorf("%+v is accepted", q)
		}
	})
}

// TestASlowReaderStopsNobodyElse opens a stream that is never read, and asks for another.
func TestASlowReaderStopsNobodyElse(t *testing.T) {
	s := newScene(t)
	s.hosts = manyHosts(100)
	slow := &stuck{header: http.Header{}, writing: make(chan struct{}), release: make(chan struct{})}
	ended := make(chan struct{})
	go func() { // ends when stuck is released
		defer close(ended)
		s.server.Serve(slow, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events?view=hosts", nil), "/events", s.visit)
	}()
	<-slow.writing
	if snap := decode(t, s.view(t, "view=hosts")); len(snap.Hosts.Hosts) != pageRows {
		t.Errorf("%d hosts", len(snap.Hosts.Hosts))
	}
	close(slow.release)
	<-ended // a write that fails ends the stream
}

// stuck accepts nothing until it is released, and then fails.
type stuck struct {
	header           http.Header
	writing, release chan struct{}
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}

func (s *stuck) Write([]byte) (int, error) {
	close(s.writing)
	<-s.release
	return 0, os.ErrDeadlineExceeded
}

// TestAnswersAreBounded shows a channel of users with more connections and channels than fit.
func TestAnswersAreBounded(t *testing.T) {
	u := operator.User{User: json.RawMessage(`{"id":"ada"}`)}
	for i := range 10_000 {
		u.Connections = append(u.Connections, operator.Connection{Connection: fmt.Sprint(i)})
	}
	for i := range 1000 {
		u.Connections[0].Channels = append(u.Connections[0].Channels, fmt.Sprintf("%0*d", presence.MaxChannelName, i))
	}
	var snap snapshot
	snap.cut(&u)
	text, err := json.Marshal(u)
	if err != nil || len(u.Connections) != pageRows || snap.Cut != 10_000-pageRows+1000-maxTags || len(text) > 128<<10 {
		t.Errorf("%d connections, %d bytes, %d left out, error %v", len(u.Connections), len(text), snap.Cut, err)
	}
}
