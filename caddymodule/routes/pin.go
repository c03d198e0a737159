package routes

import (
	"fmt"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
	"github.com/rollcall-gateway/rollcall/presence"
)

// pin says that a handler names a host in its options. The host must belong to its site, or to
// none.
type pin struct {
	host presence.HostName
	app  string // ID of the app that is pinned to the host
	by   *Rollcall
}

// Pin makes the site of a handler the owner of the host of one of its apps. If the host belongs to
// another site, that is an error. Pin returns it if the other site names the host in full, and
// Settle returns it in all other cases.
func (o *Owners) Pin(app string, host presence.HostName, by *Rollcall) error {
	p := pin{host, app, by}
	name := host.String()
	if first, ok := o.pinned[name]; ok {
		if other := o.pins[first]; other.by.Settings != by.Settings {
			return p.conflict(fmt.Sprintf("app %s of another rollcall", other.app))
		}
	}
	if c := o.get(name); c != nil && c.site.Settings != by.Settings {
		return p.conflict(c.doors[0].String())
	}
	if _, ok := o.pinned[name]; !ok {
		if o.pinned == nil {
			o.pinned = make(map[string]int)
		}
		o.pinned[name] = len(o.pins)
	}
	o.pins = append(o.pins, p)
	return nil
}

// conflict returns the error for a host that belongs to the other site.
func (p *pin) conflict(other string) error {
	return fmt.Errorf("pusher: app %s: its host %s is that of %s, and a host has one site: write the app there", p.app, p.host, other)
}

// checkPinned returns an error if a door names a host in full that another site has pinned.
func (o *Owners) checkPinned(d *Door) error {
	if len(o.pins) == 0 {
		return nil
	}
	for _, pattern := range patternsOf(d.Way.Hosts) {
		if first, ok := o.pinned[pattern]; ok && o.pins[first].by.Settings != d.Settings {
			return o.pins[first].conflict(d.String())
		}
	}
	return nil
}

// settlePins makes claims for the pinned hosts.
func (o *Owners) settlePins() error {
	for _, p := range o.pins {
		of := p.by.Site
		doors := o.doors[of]
		if len(doors) == 0 {
			continue // in a named route that is not invoked
		}
		switch c := o.owner(p.host); {
		case c != nil && c.site.Settings != of.Settings:
			return fmt.Errorf("%s: %w", doors[0], p.conflict(c.doors[0].String()))
		case c == nil || c.pattern != p.host.String():
			pattern := p.host.String()
			o.hosts.Insert(pattern, &claim{pattern: pattern, holding: &holding{claims: 1, hosts: hostpattern.SetOf(pattern), site: of, doors: doors}})
		}
	}
	return nil
}
