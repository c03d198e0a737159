package audit

import (
	"testing"
	"time"
)

func TestFrames(t *testing.T) {
	begin := time.Now()
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	ada := member{"room", "ada"}
	key := seen{0, "room", "ada"}
	join := func(f *frames, s float64) { f.changing(at(s), ada); f.changed(ada, true, at(s)) }
	leave := func(f *frames, s float64) { f.changing(at(s), ada); f.changed(ada, false, at(s)) }
	for name, c := range map[string]struct {
		do   func(f *frames)
		want FrameCounts
	}{
		"nothing":                       {func(*frames) {}, FrameCounts{}},
		"in time":                       {func(f *frames) { join(f, 1); f.frame(at(1.9), key, true) }, FrameCounts{InTime: 1}},
		"before the answer to the join": {func(f *frames) { f.changing(at(1), ada); f.frame(at(1.1), key, true); f.changed(ada, true, at(1.2)) }, FrameCounts{InTime: 1}},
		"late":                          {func(f *frames) { join(f, 1); f.frame(at(2.1), key, true) }, FrameCounts{Late: 1}},
		"missing":                       {func(f *frames) { join(f, 1); f.expire(at(11.5)) }, FrameCounts{Missing: 1}},
		"missing is counted once":       {func(f *frames) { join(f, 1); f.expire(at(12)); f.expire(at(13)); f.frame(at(14), key, true) }, FrameCounts{Missing: 1}},
		"overtaken at once":             {func(f *frames) { join(f, 1); leave(f, 1.5) }, FrameCounts{InTime: 1}},
		"overtaken when it was late":    {func(f *frames) { join(f, 1); leave(f, 3) }, FrameCounts{Late: 1, InTime: 1}},
		"a false leave": {
			func(f *frames) { join(f, 1); f.frame(at(1), key, true); f.frame(at(5), key, false) },
			FrameCounts{InTime: 1, False: 1},
		},
		"a false leave that is never mended": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			f.frame(at(5), key, false)
			f.expire(at(20))
		}, FrameCounts{InTime: 1, False: 1, Missing: 1}},
		"the frames of a user who came back come late": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			leave(f, 2)
			join(f, 2.5)
			f.frame(at(2.6), key, false)
			f.frame(at(2.7), key, true)
		}, FrameCounts{InTime: 3}},
		"they come very late": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			leave(f, 2)
			join(f, 2.5)
			f.frame(at(3.6), key, false)
			f.frame(at(3.7), key, true)
		}, FrameCounts{InTime: 3, Late: 1}},
		"a false leave after such a late one": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			leave(f, 2)
			join(f, 2.5)
			f.frame(at(2.6), key, false)
			f.frame(at(2.7), key, true)
			f.frame(at(3), key, false)
		}, FrameCounts{InTime: 3, False: 1}},
		"a false leave when a late one is no longer expected": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			leave(f, 2)
			join(f, 2.5)
			f.frame(at(12.5), key, false)
		}, FrameCounts{InTime: 2, False: 1}},
		"a false leave after a comeback in the grace period": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			f.changing(at(2), ada)
			f.changed(ada, false, at(10))
			join(f, 4)
			f.frame(at(5), key, false)
		}, FrameCounts{InTime: 2, False: 1}},
		"a lost connection, in the grace period": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			f.changing(at(2), ada)
			f.changed(ada, false, at(10))
			f.frame(at(5), key, false)
		}, FrameCounts{InTime: 2}},
		"a lost connection, back in time": {func(f *frames) {
			join(f, 1)
			f.frame(at(1), key, true)
			f.changing(at(2), ada)
			f.changed(ada, false, at(10))
			join(f, 4)
		}, FrameCounts{InTime: 2}},
		"a watcher that is away": {func(f *frames) { f.unwatch(0); join(f, 1); f.expire(at(20)) }, FrameCounts{}},
		"a watcher that comes back": {func(f *frames) {
			f.unwatch(0)
			join(f, 1)
			f.snapshot(at(2), 0, "room", []string{"ada"})
			f.expire(at(20))
		}, FrameCounts{}},
		"a snapshot that lacks a user": {func(f *frames) {
			f.unwatch(0)
			join(f, 1)
			f.snapshot(at(2), 0, "room", nil)
			f.expire(at(20))
		}, FrameCounts{Missing: 1}},
		"a snapshot with a user in the grace period": {func(f *frames) {
			f.unwatch(0)
			f.changed(ada, false, at(10))
			f.snapshot(at(2), 0, "room", []string{"ada"})
			f.frame(at(9), key, false)
		}, FrameCounts{InTime: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFrames(1)
			f.snapshot(at(0), 0, "room", nil)
			c.do(f)
			if f.counts[0] != c.want {
				t.Errorf("got %+v, want %+v", f.counts[0], c.want)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	begin := time.Now()
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	k := stream{0, "room", "conn"}
	send := func(l *messages, s float64, n uint64, isAccepted bool) {
		l.send(at(s), "room", "conn", n)
		l.accepted("room", "conn", n, isAccepted)
	}
	for name, c := range map[string]struct {
		do   func(l *messages)
		want MessageCounts
	}{
		"delivered": {func(l *messages) { send(l, 1, 1, true); l.receive(at(1.5), k, 1) }, MessageCounts{Delivered: 1}},
		"before it is confirmed": {func(l *messages) {
			l.send(at(1), "room", "conn", 1)
			l.receive(at(1.1), k, 1)
			l.accepted("room", "conn", 1, true)
		}, MessageCounts{Delivered: 1}},
		"late":                       {func(l *messages) { send(l, 1, 1, true); l.receive(at(2.5), k, 1) }, MessageCounts{Delivered: 1, Late: 1}},
		"lost":                       {func(l *messages) { send(l, 1, 1, true); l.expire(at(12)) }, MessageCounts{Lost: 1}},
		"refused":                    {func(l *messages) { send(l, 1, 1, false); l.expire(at(12)) }, MessageCounts{}},
		"twice":                      {func(l *messages) { send(l, 1, 1, true); l.receive(at(1), k, 1); l.receive(at(2), k, 1) }, MessageCounts{Delivered: 1, Duplicates: 1}},
		"twice, and nobody expected": {func(l *messages) { l.receive(at(1), k, 1); l.receive(at(2), k, 1) }, MessageCounts{Duplicates: 1}},
		"in another order": {func(l *messages) {
			send(l, 1, 1, true)
			send(l, 1, 2, true)
			l.receive(at(1), k, 2)
			l.receive(at(1), k, 1)
		}, MessageCounts{Delivered: 2, Reordered: 1}},
		"a watcher that is not there": {func(l *messages) { l.deaf(0); send(l, 1, 1, true); l.expire(at(12)) }, MessageCounts{}},
		"a watcher that goes":         {func(l *messages) { send(l, 1, 1, true); l.deaf(0); l.expire(at(12)) }, MessageCounts{}},
		"another connection": {func(l *messages) {
			send(l, 1, 2, true)
			l.receive(at(1), k, 2)
			l.receive(at(1), stream{0, "room", "other"}, 1)
		}, MessageCounts{Delivered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newMessages(1)
			l.listen(0, "room")
			c.do(l)
			if l.counts[0] != c.want {
				t.Errorf("got %+v, want %+v", l.counts[0], c.want)
			}
		})
	}
}

func TestLedgersForget(t *testing.T) {
	now := time.Now()
	l := newMessages(1)
	l.listen(0, "room")
	l.send(now, "room", "conn", 1)
	l.receive(now, stream{0, "room", "conn"}, 1)
	l.expire(now.Add(2 * remembered))
	if len(l.flights)+len(l.last) != 0 {
		t.Errorf("the ledger of messages keeps %d and %d", len(l.flights), len(l.last))
	}
	var s stays
	s.begin(now, "", 0, "a", nil).left(now, 0)
	s.begin(now.Add(2*remembered), "", 0, "b", nil)
	if n := len(s.by[""]); n != 1 {
		t.Errorf("the ledger of stays keeps %d", n)
	}
}
