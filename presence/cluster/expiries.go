package cluster

import "time"

// expiries holds things in the order in which they are due, which has to be the one that they are added in.
type expiries[T any] struct {
	list []expiry[T]
}

type expiry[T any] struct {
	at    time.Time
	thing T
}

func (e *expiries[T]) add(at time.Time, thing T) { e.list = append(e.list, expiry[T]{at, thing}) }

// next returns when the next one is due, and false when nothing is held.
func (e *expiries[T]) next() (time.Time, bool) {
	if len(e.list) == 0 {
		return time.Time{}, false
	}
	return e.list[0].at, true
}

// pop takes out one that is due, and returns false when none is.
func (e *expiries[T]) pop(now time.Time) (thing T, ok bool) {
	if len(e.list) == 0 || now.Before(e.list[0].at) {
		return thing, false
	}
	thing = e.list[0].thing
	e.list[0] = expiry[T]{}
	e.list = e.list[1:]
	if len(e.list) == 0 {
		e.list = nil
	}
	return thing, true
}
