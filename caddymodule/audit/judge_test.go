package audit

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var testPods = []Pod{{Name: "eu/a"}, {Name: "eu/b"}, {Name: "us/c"}}

// testStay is a stay in seconds since a beginning; 0 at the end is never.
type testStay struct {
	pod                            int
	user                           string
	came, here, alive, going, gone float64
}

// open is a connection that stays open.
func open(pod int, user string) testStay { return testStay{pod: pod, user: user, alive: 100} }

func TestJudge(t *testing.T) {
	begin := time.Now()
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	all := map[place]int{{"eu", "a"}: 1, {"eu", "b"}: 1, {"us", "c"}: 1}
	without := func(user string) map[place]int {
		list := make(map[place]int)
		for where, n := range all {
			if where.user != user {
				list[where] = n
			}
		}
		return list
	}
	with := func(where place, n int) map[place]int {
		list := without("")
		list[where] = n
		return list
	}
	// Answers take from 10 s to 11 s.
	for name, c := range map[string]struct {
		stays          []testStay // beside one user on each pod: a, b, c
		listed         map[place]int
		isIncomplete   bool
		cutOff         []int
		wrong          string
		ghosts, absent int
	}{
		"everybody":                              {listed: all},
		"a user is dropped":                      {listed: without("c"), wrong: "lacks c on us/c", absent: 1},
		"a user of the pod itself is dropped":    {listed: without("a"), cutOff: []int{0}, wrong: "lacks a on eu/a", absent: 1},
		"an incomplete answer lacks a user":      {listed: without("c"), isIncomplete: true, absent: 1},
		"a pod that is cut off is absent":        {listed: without("c"), cutOff: []int{2}, absent: 1},
		"a user comes during the answer":         {stays: []testStay{{pod: 1, user: "d", came: 9.95, here: 10.5, alive: 100}}, listed: all},
		"and may be listed":                      {stays: []testStay{{pod: 1, user: "d", came: 10.9, here: 12, alive: 100}}, listed: with(place{"eu", "d"}, 1)},
		"a user came just before the request":    {stays: []testStay{{pod: 1, user: "d", came: 9.8, here: 9.95, alive: 100}}, listed: all},
		"a user came in time":                    {stays: []testStay{{pod: 1, user: "d", came: 9.8, here: 9.89, alive: 100}}, listed: all, wrong: "lacks d", absent: 1},
		"a user goes during the answer":          {stays: []testStay{{pod: 1, user: "d", alive: 100, going: 10.9, gone: 11.9}}, listed: all},
		"a user goes just after the answer":      {stays: []testStay{{pod: 1, user: "d", alive: 100, going: 11.1, gone: 12}}, listed: all, wrong: "lacks d", absent: 1},
		"a connection that nobody has heard of":  {stays: []testStay{{pod: 1, user: "d", alive: 10.9}}, listed: all},
		"a ghost":                                {stays: []testStay{{pod: 1, user: "d", going: 8, gone: 9.8}}, listed: with(place{"eu", "d"}, 1), wrong: "lists d 1 times, at most 0", ghosts: 1},
		"a ghost of an answer made just before":  {stays: []testStay{{pod: 1, user: "d", going: 8, gone: 9.95}}, listed: with(place{"eu", "d"}, 1)},
		"a ghost in an incomplete answer":        {stays: []testStay{{pod: 1, user: "d", going: 8, gone: 9}}, listed: with(place{"eu", "d"}, 1), isIncomplete: true, ghosts: 1},
		"a user who comes later":                 {stays: []testStay{{pod: 1, user: "d", came: 11.1, here: 12}}, listed: with(place{"eu", "d"}, 1), wrong: "lists d", ghosts: 1},
		"a user in another data center":          {listed: with(place{"us", "a"}, 1), wrong: "lists a", ghosts: 1},
		"two connections":                        {stays: []testStay{open(1, "a")}, listed: with(place{"eu", "a"}, 2)},
		"one of two":                             {stays: []testStay{open(1, "a")}, listed: all, wrong: "lacks a", absent: 1},
		"one of two, on a pod that is cut off":   {stays: []testStay{open(2, "b"), open(2, "d")}, listed: without("c"), cutOff: []int{2}, absent: 3},
		"a user who moves may be listed twice":   {stays: []testStay{{pod: 1, user: "a", came: 10.5, here: 10.6, alive: 100}}, listed: with(place{"eu", "a"}, 2)},
		"a part of a pod is no cut":              {stays: []testStay{open(2, "d")}, listed: all, cutOff: []int{2}, wrong: "lacks d", absent: 1},
		"nobody is listed, and answers complete": {listed: nil, wrong: "lacks a", absent: 3},
	} {
		t.Run(name, func(t *testing.T) {
			var l stays
			for _, s := range append(c.stays, open(0, "a"), open(1, "b"), open(2, "c")) {
				made := l.begin(at(s.came), "", s.pod, s.user, nil)
				made.arrived(at(s.here))
				made.lives(at(s.alive))
				if s.going > 0 {
					made.leaving(at(s.going))
					made.left(at(s.gone), 0)
				}
			}
			got := l.judge(testPods, &answer{asked: at(10), answered: at(11), isComplete: !c.isIncomplete, listed: c.listed},
				func(p int) bool { return slices.Contains(c.cutOff, p) })
			wrong := strings.Join(got.wrong, "; ")
			if (wrong == "") != (c.wrong == "") || !strings.Contains(wrong, c.wrong) {
				t.Errorf("got the finding %q, want %q", wrong, c.wrong)
			}
			if got.ghosts != c.ghosts || got.absent != c.absent {
				t.Errorf("%d ghosts and %d are absent, want %d and %d", got.ghosts, got.absent, c.ghosts, c.absent)
			}
		})
	}
}

// A stay in a channel lasts no longer than its connection.
func TestJudgeOfAChannel(t *testing.T) {
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	var l stays
	conn := l.begin(at(0), "", 0, "a", nil)
	conn.arrived(at(0))
	s := l.begin(at(1), "room", 0, "a", conn)
	s.arrived(at(2))
	conn.lives(at(20))
	conn.left(at(20), 0)
	for name, c := range map[string]struct {
		asked    int
		isListed bool
		want     int // findings
	}{
		"a member":                     {asked: 10, isListed: true},
		"a member who is dropped":      {asked: 10, want: 1},
		"before it joins":              {asked: 1},
		"after the connection's end":   {asked: 25},
		"a ghost after the connection": {asked: 25, isListed: true, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := &answer{channel: "room", asked: at(c.asked), answered: at(c.asked + 1), isComplete: true, listed: map[place]int{}}
			if c.isListed {
				a.listed[place{"", "a"}] = 1
			}
			if got := l.judge(testPods, a, func(int) bool { return false }); len(got.wrong) != c.want {
				t.Errorf("got %q, want %d findings", got.wrong, c.want)
			}
		})
	}
}

func TestSoundness(t *testing.T) {
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	var s soundness
	s.add(at(10), at(20))
	for name, c := range map[string]struct {
		from, to int
		want     bool
	}{
		"before":                {5, 9, false},
		"as it begins":          {5, 10, true},
		"within":                {12, 13, true},
		"a second later":        {21, 22, true},
		"three seconds later":   {23, 24, false},
		"over all of it":        {5, 25, true},
		"a question is pending": {40, 41, true},
		"it was asked later":    {36, 37, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := s
			if c.from >= 36 {
				s.pending = at(39)
			}
			if got := s.isDoubtful(at(c.from), at(c.to)); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
