package audit

import (
	"maps"
	"sync"
	"time"
)

const (
	// late is the time after which a frame or message is late.
	late = time.Second
	// lost is the time after which it is not expected any more.
	lost = 10 * time.Second
)

// seen is one user in one channel, as a watcher sees it.
type seen struct {
	watcher       int
	channel, user string
}

// member is one user in one channel.
type member struct{ channel, user string }

// expectation is a change that a watcher has not been told yet.
type expectation struct {
	isThere   bool
	due       time.Time
	isCounted bool // as missing, or as late
}

// fact says whether a user is in a channel, and when watchers have to know it.
type fact struct {
	isThere bool
	due     time.Time
}

// frames is the ledger of presence: what watchers see, beside what is. It is safe for concurrent
// use.
type frames struct {
	mu sync.Mutex
	// truth has the users that are settled: in a channel, or not. One that is joining or leaving is
	// absent.
	truth map[member]fact
	// visible has the users that each watcher sees. Channels that it does not watch now are absent.
	visible map[seen]bool
	watched map[seen]bool // keys with user ""
	open    map[seen]*expectation
	// overtaken has what a watcher was not told of before the user came or went again: its frame
	// can still come, and is no false one then.
	overtaken map[seen]*expectation
	counts    []FrameCounts // by watcher
}

// FrameCounts counts changes that a watcher should have seen, by what became of them.
type FrameCounts struct {
	InTime  uint64 `json:"in_time"`
	Late    uint64 `json:"late"`    // after more than a second
	Missing uint64 `json:"missing"` // not within ten seconds
	False   uint64 `json:"false"`   // frames about a user who had not come or gone
}

func newFrames(watchers int) *frames {
	return &frames{
		truth: make(map[member]fact), visible: make(map[seen]bool), watched: make(map[seen]bool),
		open: make(map[seen]*expectation), overtaken: make(map[seen]*expectation), counts: make([]FrameCounts, watchers),
	}
}

// changing records that a user is about to join or to leave a channel. Until it has, watchers may
// see either.
func (f *frames) changing(now time.Time, m member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.truth, m)
	for w := range f.counts {
		f.drop(now, seen{w, m.channel, m.user})
	}
}

// drop ends an expectation that has been overtaken. If it is not due yet, the pod did not have to
// know of it, so nothing excuses a frame.
func (f *frames) drop(now time.Time, k seen) {
	if e := f.open[k]; e != nil && !e.due.After(now) {
		f.countLate(now, k, e)
		f.overtaken[k] = e
	}
	delete(f.open, k)
}

// countLate counts an expectation as late if it is, and has not been counted.
func (f *frames) countLate(now time.Time, k seen, e *expectation) {
	if !e.isCounted && now.Sub(e.due) > late {
		f.counts[k.watcher].Late++
		e.isCounted = true
	}
}

// changed records that the user is in the channel, or not. Watchers have to know it by due, and may
// know it earlier: a user whose connection was lost stays for the grace period.
func (f *frames) changed(m member, isThere bool, due time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.truth[m] = fact{isThere, due}
	for w := range f.counts {
		f.expect(seen{w, m.channel, m.user}, isThere, due)
	}
}

// expect opens an expectation, unless it is met or nobody watches.
func (f *frames) expect(k seen, isThere bool, due time.Time) {
	switch {
	case !f.watched[seen{k.watcher, k.channel, ""}]:
	case f.visible[k] == isThere:
		f.counts[k.watcher].InTime++
	default:
		f.open[k] = &expectation{isThere: isThere, due: due}
	}
}

// snapshot records the answer to a watcher's join.
func (f *frames) snapshot(now time.Time, watcher int, channel string, users []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched[seen{watcher, channel, ""}] = true
	for _, u := range users {
		f.visible[seen{watcher, channel, u}] = true
	}
	for m, t := range f.truth {
		if k := (seen{watcher, channel, m.user}); m.channel == channel && f.visible[k] != t.isThere {
			due := now
			if t.due.After(now) {
				due = t.due
			}
			f.expect(k, t.isThere, due)
		}
	}
}

// frame records that a watcher was told of a user.
func (f *frames) frame(now time.Time, k seen, isThere bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.visible[k] = isThere
	if !isThere {
		delete(f.visible, k)
	}
	e, before := f.open[k], f.overtaken[k]
	if e != nil && e.isThere == isThere {
		if f.countLate(now, k, e); !e.isCounted {
			f.counts[k.watcher].InTime++
		}
		delete(f.open, k)
		return
	}
	isOld := before != nil && before.isThere == isThere && now.Sub(before.due) <= lost
	if isOld {
		f.countLate(now, k, before)
		delete(f.overtaken, k)
	}
	if truth, isSettled := f.truth[member{k.channel, k.user}]; isSettled && e == nil && truth.isThere != isThere {
		if !isOld {
			f.counts[k.watcher].False++
		}
		f.open[k] = &expectation{isThere: truth.isThere, due: now}
	}
}

// unwatch records that a watcher has lost its connection. Nothing is expected of it.
func (f *frames) unwatch(watcher int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ofWatcher := func(k seen, _ bool) bool { return k.watcher == watcher }
	maps.DeleteFunc(f.watched, ofWatcher)
	maps.DeleteFunc(f.visible, ofWatcher)
	expected := func(k seen, _ *expectation) bool { return k.watcher == watcher }
	maps.DeleteFunc(f.open, expected)
	maps.DeleteFunc(f.overtaken, expected)
}

// expire counts what has not come. It returns how much is still expected.
func (f *frames) expire(now time.Time) (open int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.overtaken, func(_ seen, e *expectation) bool { return now.Sub(e.due) > lost })
	for k, e := range f.open {
		switch {
		case e.isCounted:
		case now.Sub(e.due) > lost:
			f.counts[k.watcher].Missing++
			e.isCounted = true
		default:
			open++
		}
	}
	return open
}
