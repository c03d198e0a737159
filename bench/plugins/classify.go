package main

import (
	"context"
	"fmt"
)

// Goals for a call, in ns.
const (
	wantClassify   = 80
	wantClassifyGo = 120
)

// classifiers are the ways to run one guest.
type classifiers struct {
	name                                            string
	ours, floor, pooled, guard, extism, extismTimed *cell
	oursAll, guardAll                               *cell // on all CPUs
}

// classify compares calls of the hook classify: encoding the request, writing it into the guest,
// and reading the decision.
func (b *bench) classify() error {
	progress("classify")
	var all []*classifiers
	var cells []*cell
	for _, name := range []string{guestC, guestRust, guestAS, guestGo} {
		c, err := b.classifiers(name)
		if err != nil {
			return fmt.Errorf("classify, %s: %w", title[name], err)
		}
		all = append(all, c)
		cells = append(cells, c.ours, c.floor, c.pooled, c.guard, c.extism, c.extismTimed, c.oursAll, c.guardAll)
	}
	if err := measureAll(b.rounds, cells...); err != nil {
		return fmt.Errorf("classify: %w", err)
	}
	t := newTable("guest", "Rollcall", "target", "bare wazero", "with a pool", "wazero's guard", "Extism", "Extism, timeout")
	parallel := newTable("guest", "Rollcall", "wazero's guard", "Rollcall, calls a second")
	for _, c := range all {
		want := float64(wantClassify)
		if c.name == guestGo {
			want = wantClassifyGo
		}
		verdict := target(c.ours.ns, want, "")
		if c.ours.allocs >= 0.5 {
			verdict += ", **allocates**"
		}
		t.add(title[c.name], nanos(c.ours), verdict, nanos(c.floor), nanos(c.pooled), nanos(c.guard), nanos(c.extism),
			nanos(c.extismTimed))
		parallel.add(title[c.name], nanos(c.oursAll), nanos(c.guardAll), fmt.Sprintf("%s million", number(1000/c.oursAll.ns)))
	}
	t.print("classify", "One call on one CPU, in ns, with allocations in parentheses. Rollcall counts steps, and can end the\n"+
		"call at any time; bare wazero is one instance without any guard or pool, the floor; wazero's guard is\n"+
		"`WithCloseOnContextDone` and a `context.WithTimeout` for each call, through a `sync.Pool`.")
	parallel.print("classify on all CPUs", "ns a call by the clock, of all CPUs together: other programs count here.")
	return nil
}

// timed returns a cell that asks for the timed decision.
func timed(ask func(channel string) (uint64, error)) *cell {
	return &cell{op: func() error {
		bits, err := ask(timedChannel)
		if err == nil && bits != timedBits {
			err = fmt.Errorf("the decision is %#x, want %#x", bits, timedBits)
		}
		return err
	}}
}

func (b *bench) classifiers(name string) (*classifiers, error) {
	c := &classifiers{name: name}
	way := func(to **cell, ask func(channel string) (uint64, error)) error {
		*to = timed(ask)
		return checkDecisions(ask)
	}
	ours, err := b.ours(name)
	if err != nil {
		return nil, err
	}
	if err := way(&c.ours, ours.classify); err != nil {
		return nil, fmt.Errorf("rollcall: %w", err)
	}
	plain, err := b.bare(name, false)
	if err != nil {
		return nil, err
	}
	single, err := plain.instantiate(b.ctx)
	if err != nil {
		return nil, err
	}
	background := context.Background()
	if err := way(&c.floor, func(ch string) (uint64, error) { return single.classify(background, ch) }); err != nil {
		return nil, fmt.Errorf("bare: %w", err)
	}
	if err := way(&c.pooled, plain.classify); err != nil {
		return nil, fmt.Errorf("bare with a pool: %w", err)
	}
	guarded, err := b.bare(name, true)
	if err != nil {
		return nil, err
	}
	if err := way(&c.guard, guarded.classify); err != nil {
		return nil, fmt.Errorf("with the guard: %w", err)
	}
	c.oursAll, c.guardAll = timed(ours.classify), timed(guarded.classify)
	c.oursAll.parallel, c.guardAll.parallel = true, true
	return c, b.extismClassifiers(c, way)
}

func (b *bench) extismClassifiers(
	c *classifiers, way func(to **cell, ask func(channel string) (uint64, error)) error,
) error {
	p, err := b.peer(c.name, 0)
	if err != nil || p == nil {
		return err
	}
	if err := way(&c.extism, p.classify); err != nil {
		return err
	}
	p, err = b.peer(c.name, deadline)
	if err != nil {
		return err
	}
	return way(&c.extismTimed, p.classify)
}

// checkDecisions asks about all channels.
func checkDecisions(ask func(channel string) (uint64, error)) error {
	for _, d := range decisions {
		bits, err := ask(d.channel)
		if err != nil {
			return err
		}
		if bits != d.bits {
			return fmt.Errorf("the decision about %s is %#x, want %#x", d.channel, bits, d.bits)
		}
	}
	return nil
}
