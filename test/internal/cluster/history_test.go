package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// at returns a time of these tests, in seconds from their start.
func at(s float64) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(s * float64(time.Second)))
}

// optional is at; the zero time if the number is negative.
func optional(s float64) time.Time {
	if s < 0 {
		return time.Time{}
	}
	return at(s)
}

// stayed returns a connection that started in from..here and ended in going..gone.
func stayed(h *History, pod Pod, user string, came, here, going, gone float64) {
	h.stays = append(h.stays, &Stay{
		history: h, pod: pod, user: user,
		came: at(came), here: optional(here), going: optional(going), gone: optional(gone),
	})
}

func counted(authenticated, anonymous int) DataCenter {
	return DataCenter{Authenticated: authenticated, Anonymous: anonymous}
}

func listed(ids ...string) DataCenter {
	dc := DataCenter{Authenticated: len(ids), Users: []ws.User{}}
	for _, id := range ids {
		dc.Users = append(dc.Users, ws.User{ID: id})
	}
	return dc
}

func withVisitor(authenticated int, ids ...string) DataCenter {
	return DataCenter{Authenticated: authenticated, Anonymous: 1, Users: listed(ids...).Users}
}

func TestHistoryJudgesAnswers(t *testing.T) {
	include, raw := Shape{Include: true}, Shape{Raw: true}
	both := Shape{Include: true, Raw: true}
	tests := []struct {
		name  string
		shape Shape
		a, b  DataCenter
		want  string // part of the error; "" if none
	}{
		{"all who were there", Shape{}, counted(2, 1), counted(1, 0), ""},
		{"one came meanwhile", Shape{}, counted(3, 1), counted(1, 0), ""},
		{"one went meanwhile", Shape{}, counted(2, 1), counted(1, 1), ""},
		{"too many", Shape{}, counted(4, 1), counted(1, 0), "4 are authenticated"},
		{"too few", Shape{}, counted(1, 1), counted(1, 0), "1 are authenticated"},
		{"a visitor is lost", Shape{}, counted(2, 0), counted(1, 0), "0 are anonymous"},
		{"a visitor too many", Shape{}, counted(2, 1), counted(1, 2), "2 are anonymous"},
		{"a user of two connections counts once", Shape{}, counted(2, 1), counted(2, 0), "2 are authenticated"},
		{"and twice in the raw count", raw, counted(2, 1), counted(2, 0), ""},
		{"the raw count of one connection", raw, counted(2, 1), counted(1, 0), "1 are authenticated"},
		{"names", include, listed("u", "v"), listed("w"), "0 are anonymous"},
		{"names and a visitor", include, withVisitor(2, "u", "v"), listed("w"), ""},
		{"a user that comes later", include, withVisitor(2, "u", "later"), listed("w"), "later is listed"},
		{"another user instead", include, withVisitor(2, "u", "coming"), listed("w"), "v is connected"},
		{"twice", include, withVisitor(3, "u", "u", "v"), listed("w"), "u is listed 2 times"},
		{"raw names", both, withVisitor(2, "u", "v"), listed("w", "w"), ""},
		{"raw names, one too few", both, withVisitor(3, "u", "v", "v"), listed("w", "w"), "v is listed 2 times"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := new(History)
			stayed(h, a1, "u", 1, 2, -1, -1)
			stayed(h, a2, "v", 1, 2, 20, -1)
			stayed(h, a1, "", 1, 2, -1, -1)
			stayed(h, a1, "gone", 1, 2, 3, 4)
			stayed(h, a1, "coming", 10.5, -1, -1, -1)
			stayed(h, a1, "later", 12, -1, -1, -1)
			stayed(h, b1, "w", 1, 2, -1, -1)
			stayed(h, b1, "w", 1, 2, -1, -1)
			stayed(h, b1, "", 1, 2, 9, 10.5)
			a := Answer{
				Shape: tt.shape, Complete: true, Asked: at(10), Answered: at(11),
				DCs: map[string]DataCenter{"a": tt.a, "b": tt.b},
			}
			err := h.Check(a1, a, NewOutlook([]Pod{a1, a2, b1}))
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestHistoryKnowsWhoMayMiss(t *testing.T) {
	killed := func(o *Outlook) {
		o.Begin(at(9), a2, Unsure, Absent, MayMiss)
		o.End(at(15), a2, MayMiss)
	}
	tests := []struct {
		name    string
		outlook func(*Outlook)
		asked   float64
		dc      DataCenter
		missing string
		want    string
	}{
		{"all is well", func(*Outlook) {}, 10, counted(2, 0), "", ""},
		{"and one is said to miss", func(*Outlook) {}, 10, counted(1, 0), "a/2", "says that a/2 is missing"},
		{"and one is not there", func(*Outlook) {}, 10, counted(1, 0), "", "1 are authenticated"},
		{"killed and named", killed, 10, counted(1, 0), "a/2", ""},
		{"killed, gone, and not named", killed, 10, counted(1, 0), "", ""},
		{"killed and counted", killed, 10, counted(2, 0), "", "2 are authenticated"},
		{"killed, named and counted", killed, 10, counted(2, 0), "a/2", "2 are authenticated"},
		{"killed, named and partly counted", func(o *Outlook) {
			killed(o)
			o.End(at(9), a2, Absent)
			o.Begin(at(9), a2, MayMissPart)
		}, 10, counted(2, 0), "a/2", ""},
		{"killed while it is asked", killed, 8.5, counted(2, 0), "", ""},
		{"killed, and another is named", killed, 10, counted(1, 0), "b/1", "says that b/1 is missing"},
		{"killed, and one is named who never was", killed, 10, counted(1, 0), "a/9", "not all pods"},
		{"killed, and named for too long", killed, 16, counted(1, 0), "a/2", "says that a/2 is missing"},
		{"gone for good", killed, 16, counted(1, 0), "", ""},
		{"must be named", func(o *Outlook) { o.Begin(at(9), a2, MustMiss, Unsure) }, 10, counted(1, 0), "", "does not say"},
		{"must be named later", func(o *Outlook) { o.Begin(at(10.5), a2, MustMiss, Unsure) }, 10, counted(1, 0), "", ""},
		{"back and not yet in answers", func(o *Outlook) {
			o.Begin(at(1), a2, Unsure, Absent)
			o.End(at(9), a2, Absent)
			o.End(at(11), a2, Unsure)
		}, 10, counted(1, 0), "", ""},
		{"back", func(o *Outlook) {
			o.Begin(at(1), a2, Unsure, Absent)
			o.End(at(9), a2, Absent, Unsure)
		}, 10, counted(1, 0), "", "1 are authenticated"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := new(History)
			stayed(h, a1, "u", 1, 2, -1, -1)
			stayed(h, a2, "v", 1, 2, -1, -1)
			o := NewOutlook([]Pod{a1, a2, b1})
			tt.outlook(o)
			a := Answer{
				Complete: tt.missing == "", Asked: at(tt.asked), Answered: at(tt.asked + 1),
				DCs: map[string]DataCenter{"a": tt.dc, "b": {}},
			}
			if tt.missing != "" {
				a.Missing = []string{tt.missing}
			}
			err := h.Check(a1, a, o)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestHistoryOfAPodThatHearsNobody(t *testing.T) {
	h := new(History)
	o := NewOutlook([]Pod{a1, b1})
	o.Begin(at(9), a1, Blind)
	o.Begin(at(9), b1, Unsure, MayMiss)
	for _, tt := range []struct {
		name     string
		complete bool
		missing  []string
		right    bool
	}{
		{"complete", true, nil, false},
		{"incomplete", false, nil, true},
		{"names the other", false, []string{"b/1"}, true},
		{"names itself", false, []string{"a/1"}, false},
	} {
		a := Answer{
			Complete: tt.complete, Missing: tt.missing, Asked: at(10), Answered: at(11), DCs: map[string]DataCenter{"a": {}},
		}
		if err := h.Check(a1, a, o); (err == nil) != tt.right {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestHistoryOfAnIncompleteAnswerThatNamesNone(t *testing.T) {
	tests := []struct {
		name string
		rule Rule
		dc   DataCenter
		want string
	}{
		{"without a rule", Unsure, counted(1, 0), "names no pod"},
		{"lacks nothing", MayNameNone, counted(1, 0), ""},
		{"lacks a user", MayNameNone, counted(0, 0), "0 are authenticated"},
		{"lacks a user and may", MayBeBlind, counted(0, 0), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := new(History)
			stayed(h, b1, "u", 1, 2, -1, -1)
			o := NewOutlook([]Pod{a1, b1})
			o.Begin(at(9), a1, tt.rule)
			if tt.rule == Unsure {
				o.End(at(9.5), a1, Unsure)
			}
			a := Answer{Asked: at(10), Answered: at(11), DCs: map[string]DataCenter{"a": {}, "b": tt.dc}}
			err := h.Check(a1, a, o)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A connection counts from a margin before the question, for an answer that may be shared.
func TestHistoryWithAMargin(t *testing.T) {
	h := new(History)
	stayed(h, a1, "just came", 9.9, 9.95, -1, -1)
	stayed(h, a1, "just left", 1, 2, 9.9, 9.95)
	a := Answer{Complete: true, Asked: at(10), Answered: at(11)}
	o := NewOutlook([]Pod{a1})
	for n, right := range []bool{false, true, false} {
		a.DCs = map[string]DataCenter{"a": counted(n, 0)}
		if err := h.Check(a1, a, o); (err == nil) != right {
			t.Errorf("%d users: %v", n, err)
		}
	}
	a.Asked = a.Asked.Add(-Kept)
	for n, right := range []bool{true, true, true, false} {
		a.DCs = map[string]DataCenter{"a": counted(n, 0)}
		if err := h.Check(a1, a, o); (err == nil) != right {
			t.Errorf("%d users, with a margin: %v", n, err)
		}
	}
}

func TestHistoryOfAPodThatHasJustStarted(t *testing.T) {
	h := new(History)
	stayed(h, b1, "u", 1, 2, -1, -1)
	a := Answer{Asked: at(10), Answered: at(11), DCs: map[string]DataCenter{"a": {}}}
	o := NewOutlook([]Pod{a1, b1})
	if err := h.Check(a1, a, o); err == nil {
		t.Error("a pod may not know of others long after its start")
	}
	o.Begin(at(9), a1, Unsure)
	if err := h.Check(a1, a, o); err != nil {
		t.Error(err)
	}
	a.Complete = true
	if err := h.Check(a1, a, o); err == nil || !strings.Contains(err.Error(), "b is not in the answer") {
		t.Errorf("got %v, want that b must be listed in a complete answer", err)
	}
	a.Complete, a.DCs["b"] = false, DataCenter{}
	if err := h.Check(a1, a, o); err != nil {
		t.Error(err)
	}
	a.DCs["b"] = counted(2, 0)
	if err := h.Check(a1, a, o); err == nil {
		t.Error("an answer may list only users that are connected")
	}
}
