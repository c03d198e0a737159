package work

import "time"

// Expiries holds things in the order in which they are due. They must be added in that order.
type Expiries[T any] struct {
	list []expiry[T]
}

type expiry[T any] struct {
	at    time.Time
	thing T
}

// Add adds a thing that is due at a time.
func (e *Expiries[T]) Add(at time.Time, thing T) { e.list = append(e.list, expiry[T]{at, thing}) }

// Next returns when the first thing is due, and false if there is none.
func (e *Expiries[T]) Next() (time.Time, bool) {
	if len(e.list) == 0 {
		return time.Time{}, false
	}
	return e.list[0].at, true
}

// Pop removes and returns a thing that is due, and returns false if none is.
func (e *Expiries[T]) Pop(now time.Time) (thing T, ok bool) {
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
