package assignment

import (
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Other pods forget a removal [Retention] after it was made, whether or not this pod has it. So the
// time for which a book keeps what no pod compares, the records of a host outside its scope, begins
// when the book was last in step with the others: all removals that it has missed are later.

// kindLeft is the kind of a record that has in its Value the last time at which the book was in
// step for a host that is outside the scope; without a host, for all hosts in the scope. Its Until
// is the number of times that the host came back into the scope or left it again since then, so it
// is odd while the host is back. It is in the store only: pods do not exchange it, and it is in no
// sum.
const kindLeft Kind = 31

// leftUser stands for the user in a record of that kind.
const leftUser = "left"

// InStep records that the book has at present all records that other pods have of the hosts in its
// scope. It changes nothing if scope is not the sum of the present scope.
func (b *Book) InStep(scope uint64) {
	now := unixMilli(b.now())
	if b.settleBack(scope, now) {
		// At once: after a crash and a long time off, the host would be dropped because of its old
		// time.
		_ = b.place(now, false) // on failure, at the next sweep
	}
}

// settleBack records the time in step, and reports whether a host was back.
func (b *Book) settleBack(scope, now uint64) bool {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	if !b.scoped || scope != b.scopeSum {
		return false
	}
	if b.inStep = now; b.back == 0 {
		return false
	}
	for host, h := range b.hosts {
		if h.back {
			b.settle(host, h)
		}
	}
	return true
}

// lastInStep returns the last time in step, and whether it is to be stored: then it is b.stored.
// Unless save is set, it is not if the store has an earlier one. countMu is held.
func (b *Book) lastInStep(now time.Time, save bool) (last uint64, stale bool) {
	if b.scope == nil {
		return b.inStep, false // without other pods, it is of no use
	}
	if b.inStep == 0 {
		b.inStep = unixMilli(now) // the store does not have it
	}
	b.inStep = min(b.inStep, unixMilli(now)) // the clock may have been set back
	later := b.inStep > b.stored.Value
	if b.inStep == b.stored.Value || later && b.stored.Value != 0 && !save {
		return b.inStep, false
	}
	if !later {
		b.obsolete = append(b.obsolete, b.stored) // the store keeps the greater one of two
	}
	b.stored = leftAt(presence.HostName{}, b.inStep)
	return b.inStep, true
}

// settle makes the last time in step of a host that is back that of the others. countMu is held.
func (b *Book) settle(host presence.HostName, h *hostState) {
	b.obsolete = append(b.obsolete, h.left)
	h.left = Record{}
	b.setBack(h, false)
	b.release(host, h)
}

// setBack sets whether a host is back, and reports whether that has changed. countMu is held.
func (b *Book) setBack(h *hostState, back bool) (changed bool) {
	if h.back == back {
		return false
	}
	h.back = back
	b.back += map[bool]int{true: 1, false: -1}[back]
	return true
}

// leftAt returns the record of a time in step.
func leftAt(host presence.HostName, inStep uint64) Record {
	return Record{Host: host, User: leftUser, Kind: kindLeft, Value: inStep}
}

// validLeft reports whether the fields of a record of kindLeft are valid.
func (r *Record) validLeft() bool {
	return r.Kind == kindLeft && r.User == leftUser && r.Channel == "" && r.Mode == None && !r.Blind &&
		r.Version == Version{} && r.Value <= maxValue && r.Until <= maxValue && r.Local == 0
}

// loadLeft takes over from the store when the book was last in step.
func (b *Book) loadLeft(records []Record) {
	b.countMu.Lock()
	for _, r := range records {
		if r.Host.IsZero() {
			b.inStep, b.stored = r.Value, r
			continue
		}
		h := b.hostState(r.Host)
		h.left = r
		b.setBack(h, r.Until%2 == 1)
	}
	b.countMu.Unlock()
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	for i := range records {
		delete(b.unsaved, nameOf(&records[i])) // it is later, and the store would keep it
	}
}
