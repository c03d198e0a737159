package audit

import (
	"maps"
	"strings"
	"testing"
)

func testAudit() *Audit {
	a := New(Options{Pods: testPods, Host: "audit.example.com", Channels: 1})
	a.run = "run"
	return a
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		channel, answer string
		want            map[place]int
		err             string
	}{
		"all users": {
			"", `{"eu":{"authenticated":[{"id":"audit-run-1","email":""},{"id":"audit-run-1"},{"id":"ada"}],"authenticatedCount":3,"anonymous":1},` +
				`"us":{"authenticated":[{"id":"audit-run-2"}],"anonymous":0},"_total":{"authenticated":4,"anonymous":1}}`,
			map[place]int{{"eu", "audit-run-1"}: 2, {"us", "audit-run-2"}: 1},
			"",
		},
		"a channel":              {"room", `{"room":[{"id":"audit-run-1"}]}`, map[place]int{{"", "audit-run-1"}: 1}, ""},
		"a channel with nobody":  {"room", `{}`, map[place]int{}, ""},
		"another audit":          {"room", `{"room":[{"id":"audit-other-1"}]}`, map[place]int{}, ""},
		"counts":                 {"", `{"eu":{"authenticated":3}}`, nil, "not as it should be"},
		"a number for a channel": {"room", `{"room":3}`, nil, "not as it should be"},
		"no JSON":                {"", `<html>`, nil, "not as it should be"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := testAudit().parse([]byte(c.answer), c.channel)
			if (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got the error %v, want %q", err, c.err)
			}
			if err == nil && !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"eu":{"authenticated":[{"id":"audit-run-1"}]},"_total":{}}`), false)
	f.Add([]byte(`{"room":[{"id":"audit-run-1"}]}`), true)
	a := testAudit()
	f.Fuzz(func(t *testing.T, raw []byte, isChannel bool) {
		channel := ""
		if isChannel {
			channel = "room"
		}
		listed, err := a.parse(raw, channel)
		for where := range listed {
			if err != nil || !strings.HasPrefix(where.user, a.idPrefix()) {
				t.Errorf("%+v is listed, %v", where, err)
			}
		}
	})
}

func TestReport(t *testing.T) {
	a := testAudit()
	a.pods[0].counts = PodReport{Users: UserCounts{Home: 2, Joined: 1, NotConnected: 3, NotJoined: 5, LastError: "no\tentry"}, Answers: AnswerCounts{Complete: 7, Wrong: 1, Incomplete: 2, None: 3}, IncompleteSeconds: 1.5, GhostSeconds: 2.5}
	a.frames.counts[0] = FrameCounts{InTime: 4, Late: 1}
	a.messages.counts[0] = MessageCounts{Delivered: 9, Late: 2}
	a.find(a.began, 0, "lists \x1b[1ma ghost")
	r := a.Report()
	var table, metrics strings.Builder
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteMetrics(&metrics); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"eu/a: users joined 1 time; failures to connect 3, to log in 0, to join 5; the last: no?entry\n",
		"eu/b: it is no user's home, because there are fewer users than pods\n",
		"eu/a  7         1      2 (1.5 s)   3 (0.0 s)  2.5 s   0.0 s    5       1     0        0      9         2     0     0      0\n",
		"eu/a: lists ?[1ma ghost\n", "1 complete answer is wrong\n",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is not in\n%s", want, table.String())
		}
	}
	for _, want := range []string{
		"# TYPE rollcall_audit_answers_total counter\n",
		`rollcall_audit_answers_total{pod="eu/a",result="none"} 3` + "\n",
		`rollcall_audit_joins_total{pod="eu/a",result="not_joined"} 5` + "\n",
		`rollcall_audit_wrong_answers_total{pod="eu/a"} 1` + "\n",
		`rollcall_audit_messages_total{pod="eu/a",result="in_time"} 7` + "\n",
		`rollcall_audit_ghost_seconds_total{pod="us/c"} 0` + "\n",
	} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("%q is not in\n%s", want, metrics.String())
		}
	}
}

// An audit whose users stay outside has not found that nothing is wrong.
func TestSummary(t *testing.T) {
	in, out := UserCounts{Home: 1, Joined: 1}, UserCounts{Home: 1, NotJoined: 1}
	for name, c := range map[string]struct {
		pods []PodReport
		want string
	}{
		"nothing wrong":        {[]PodReport{{Pod: "a", Users: in}}, "no complete answer is wrong"},
		"no home":              {[]PodReport{{Pod: "a", Users: in}, {Pod: "b"}}, "no complete answer is wrong"},
		"nobody joined":        {[]PodReport{{Pod: "a", Users: out}, {Pod: "b", Users: out}}, "no user joined a channel on a, b, so nothing was judged there"},
		"nobody joined on one": {[]PodReport{{Pod: "a", Users: in}, {Pod: "b", Users: out}}, "no user joined a channel on b, so nothing was judged there"},
		"and something is wrong": {
			[]PodReport{{Pod: "a", Users: in, Answers: AnswerCounts{Wrong: 2}}, {Pod: "b", Users: out}},
			"2 complete answers are wrong; no user joined a channel on b, so nothing was judged there",
		},
	} {
		r := Report{Pods: c.pods}
		if got := r.summary(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
