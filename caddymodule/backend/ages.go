package backend

import (
	"slices"
	"time"
)

// ages returns the age of the oldest of many messages. It does not store each, but counts them by
// the time at which they were added. The zero value is empty.
type ages struct {
	slots []ageSlot // sorted by start
}

type ageSlot struct {
	start int64 // Unix time in units of ageUnit
	n     int
}

// ageUnit is the resolution of ages.
const ageUnit = 10 * time.Second

// slot returns the slot of a message by its number, which is close to its time in nanoseconds.
func slot(number uint64) int64 { return int64(number / uint64(ageUnit)) }

func (a *ages) find(start int64) (int, bool) {
	return slices.BinarySearchFunc(a.slots, start, func(s ageSlot, start int64) int { return int(s.start - start) })
}

func (a *ages) add(number uint64) {
	i, ok := a.find(slot(number))
	if !ok {
		a.slots = slices.Insert(a.slots, i, ageSlot{start: slot(number)})
	}
	a.slots[i].n++
}

func (a *ages) remove(number uint64) {
	i, ok := a.find(slot(number))
	if !ok {
		return
	}
	if a.slots[i].n--; a.slots[i].n == 0 {
		a.slots = slices.Delete(a.slots, i, i+1)
	}
}

// oldest returns when the oldest message was added, to [ageUnit]; the zero time if there is none.
func (a *ages) oldest() time.Time {
	if len(a.slots) == 0 {
		return time.Time{}
	}
	return time.Unix(0, a.slots[0].start*int64(ageUnit))
}
