package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Goals: microseconds per user, and the ratio of metered to unmetered.
const (
	wantMember     = 1
	wantShapeRatio = 1.3
)

// Users of an answer: as many as a large host has, and as many as fit into the document limit.
const (
	manyUsers = 100_000
	someUsers = 1_000
)

// members compares ways to mask the e-mail addresses of a long list.
func (b *bench) members() error {
	progress("members")
	many, err := newCrowd(manyUsers)
	if err != nil {
		return err
	}
	some, err := newCrowd(someUsers)
	if err != nil {
		return err
	}
	o, err := b.ours(guestGo)
	if err != nil {
		return err
	}
	if err := checkMembers(o, many); err != nil {
		return fmt.Errorf("members: %w", err)
	}
	list := &cell{per: manyUsers, op: func() error {
		size := 0
		err := o.members(many.users, func(object []byte) { size += len(object) })
		if err == nil && size < manyUsers {
			err = fmt.Errorf("the users are %d bytes", size)
		}
		return err
	}}
	plain, err := b.bareMembers(many, false)
	if err != nil {
		return err
	}
	guard, err := b.bareMembers(many, true)
	if err != nil {
		return err
	}
	document, err := b.ours(guestGoJSON)
	if err != nil {
		return err
	}
	asJSON := &cell{per: someUsers, op: func() error { return shapeOnce(document.shape, some, false) }}
	native := &cell{per: someUsers, op: func() error { return shapeOnce(maskNatively, some, false) }}
	if err := errors.Join(shapeOnce(document.shape, some, true), shapeOnce(maskNatively, some, true)); err != nil {
		return fmt.Errorf("members as JSON: %w", err)
	}
	if err := measureAll(b.rounds, list, plain, guard, asJSON, native); err != nil {
		return fmt.Errorf("members: %w", err)
	}
	t := newTable("way", "us a user", "allocations a user", "target")
	t.add("Rollcall, `members` with a Go guest, answer encoded as JSON", micros(list), number(list.allocs),
		target(list.ns/1000, wantMember, ""))
	t.add("bare wazero, the same records, answer not encoded", micros(plain), number(plain.allocs), none)
	t.add("wazero's guard, the same records, answer not encoded", micros(guard), number(guard.allocs), none)
	t.add("Rollcall, `shape` with a Go guest and encoding/json", micros(asJSON), number(asJSON.allocs), none)
	t.add("encoding/json in this process, no guest", micros(native), number(native.allocs), none)
	t.print("members", fmt.Sprintf("A list of %d users, in batches of 256; whole documents are of %d users.", manyUsers, someUsers))
	return nil
}

// checkMembers compares the whole list.
func checkMembers(o *ours, c *crowd) error {
	body := []byte(`{"room":[`)
	err := o.members(c.users, func(object []byte) {
		if body[len(body)-1] != '[' {
			body = append(body, ',')
		}
		body = append(body, object...)
	})
	if err != nil {
		return err
	}
	return c.check(append(body, "]}"...))
}

// bareMembers passes batches that are already encoded through a guest without Rollcall.
func (b *bench) bareMembers(c *crowd, guard bool) (*cell, error) {
	w, err := b.bare(guestGo, guard)
	if err != nil {
		return nil, err
	}
	batches := c.batches()
	var answer []byte
	return &cell{per: len(c.users), op: func() error {
		for _, batch := range batches {
			var err error
			if answer, err = w.members(answer[:0], batch); err != nil {
				return err
			}
			if !bytes.Contains(answer[:64], []byte("s***@example.com")) {
				return fmt.Errorf("the records are wrong: %q", answer[:64])
			}
		}
		return nil
	}}, nil
}

// shapeOnce passes an answer through a shape. If checked is set, it checks the result.
func shapeOnce(shape func(body []byte) ([]byte, error), c *crowd, checked bool) error {
	answer, err := shape(c.body)
	if err != nil {
		return err
	}
	if checked {
		return c.check(answer)
	}
	if len(answer) < len(c.users) {
		return fmt.Errorf("the answer has only %d bytes", len(answer))
	}
	return nil
}

func maskNatively(body []byte) ([]byte, error) {
	var channels map[string][]user
	if err := json.Unmarshal(body, &channels); err != nil {
		return nil, err
	}
	for _, users := range channels {
		for i, u := range users {
			users[i] = u.masked()
		}
	}
	return json.Marshal(channels)
}

// shapers are the ways to run the hook shape of one guest.
type shapers struct {
	name                                    string
	ours, plain, guard, extism, extismTimed *cell
}

// shape compares the hook shape on a document.
func (b *bench) shape() error {
	progress("shape")
	c, err := newCrowd(someUsers)
	if err != nil {
		return err
	}
	var all []*shapers
	var cells []*cell
	for _, name := range []string{guestC, guestRust, guestAS, guestGoJSON} {
		s, err := b.shapers(name, c)
		if err != nil {
			return fmt.Errorf("shape, %s: %w", title[name], err)
		}
		all = append(all, s)
		cells = append(cells, s.ours, s.plain, s.guard, s.extism, s.extismTimed)
	}
	if err := measureAll(b.rounds, cells...); err != nil {
		return fmt.Errorf("shape: %w", err)
	}
	t := newTable("guest", "Rollcall", "bare wazero", "ratio", "target", "wazero's guard", "ratio", "Extism", "Extism, timeout")
	for _, s := range all {
		ratio := s.ours.ns / s.plain.ns
		t.add(title[s.name], micros(s.ours), micros(s.plain), number(ratio), target(ratio, wantShapeRatio, ""),
			micros(s.guard), number(s.guard.ns/s.plain.ns), micros(s.extism), micros(s.extismTimed))
	}
	t.print("shape", fmt.Sprintf("A JSON answer with %d users and %d KB, in us. Ratios are to bare wazero, unmetered. In every way,\n"+
		"the answer is copied and checked to be JSON.", someUsers, len(c.body)/1000))
	return nil
}

func (b *bench) shapers(name string, c *crowd) (*shapers, error) {
	s := &shapers{name: name}
	way := func(to **cell, shape func(body []byte) ([]byte, error)) error {
		*to = &cell{op: func() error { return shapeOnce(shape, c, false) }}
		return shapeOnce(shape, c, true)
	}
	o, err := b.ours(name)
	if err != nil {
		return nil, err
	}
	if err := way(&s.ours, o.shape); err != nil {
		return nil, fmt.Errorf("rollcall: %w", err)
	}
	for guard, to := range map[bool]**cell{false: &s.plain, true: &s.guard} {
		w, err := b.bare(name, guard)
		if err != nil {
			return nil, err
		}
		var answer []byte
		shape := func(body []byte) ([]byte, error) {
			answer, err = w.shape(answer[:0], body)
			return checked(answer, err)
		}
		if err := way(to, shape); err != nil {
			return nil, fmt.Errorf("bare, guard %t: %w", guard, err)
		}
	}
	if name != guestC {
		return s, nil
	}
	p, err := b.peer(name, 0)
	if err != nil {
		return nil, err
	}
	if err := way(&s.extism, func(body []byte) ([]byte, error) { return checked(p.shape(body)) }); err != nil {
		return nil, err
	}
	timed, err := b.peer(name, deadline)
	if err != nil {
		return nil, err
	}
	return s, way(&s.extismTimed, func(body []byte) ([]byte, error) { return checked(timed.shape(body)) })
}

// checked refuses a result that is not JSON, as any host of a plugin must.
func checked(answer []byte, err error) ([]byte, error) {
	if err == nil && !json.Valid(answer) {
		err = errors.New("the answer is no JSON")
	}
	return answer, err
}
