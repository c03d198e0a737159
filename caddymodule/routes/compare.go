package routes

import (
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

const (
	// maxNamed is the maximum number of warnings for one handler that name hosts it gets requests
	// for but does not serve.
	maxNamed = 10
	// comparedPerDoor limits the comparisons for such warnings, by the number of doors. n doors
	// that are less specific than m others are all compared if n or m is at most this number.
	comparedPerDoor = 64
)

// compare compares a door with more and less specific doors that share a host with it. A less
// specific door is an error if it stands before the owner in the routes of one listener. If it gets
// requests that the owner does not get there, they are answered 421, and a warning says so.
func (o *Owners) compare(d *Door) error {
	if o.every == nil && o.hosts.WildShapes() == 0 && d.Way.Hosts.IsNames() {
		return nil
	}
	for _, pattern := range patternsOf(d.Way.Hosts) {
		for c := range o.moreSpecific(pattern) {
			if o.compared++; !d.InNamed && !o.mayWarn(d) {
				break
			}
			if c.site == d.Site {
				continue
			}
			if err := o.compareAsLess(d, c, common(c.pattern, pattern)); err != nil {
				return err
			}
		}
		isNew := o.get(pattern) == nil
		for c := range o.lessSpecific(pattern) {
			if c.site == d.Site {
				continue
			}
			if err := o.compareAsOwner(d, c, common(pattern, c.pattern), isNew); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareAsLess compares a door with the owner of hosts that both could serve.
func (o *Owners) compareAsLess(d *Door, c *claim, hosts string) error {
	// Doors are entered in the order of their routes, except for doors in named routes.
	if d.InNamed && c.site.Settings != d.Settings {
		for _, owner := range c.at(d.place()) {
			if d.Way.before(owner.Way) && d.gets(hosts) {
				return standsBefore(d, owner, hosts)
			}
		}
	}
	if !o.mayWarn(d) || !d.gets(hosts) {
		return nil
	}
	for _, owner := range c.at(d.place()) {
		if o.compared++; owner.covers(d, hostpattern.SetOf(hosts)) {
			return nil
		}
	}
	o.warnMisdirected(d, c.doors[0], hosts)
	return nil
}

// compareAsOwner compares a door that owns hosts with the less specific doors that could serve them
// too. Warnings come with the first door that owns the hosts.
func (o *Owners) compareAsOwner(d *Door, c *claim, hosts string, isFirst bool) error {
	// With the same settings it is not an error: servers are loaded in no order, and a later
	// handler may make both doors belong to one site.
	if c.site.Settings != d.Settings {
		for _, less := range c.at(d.place()) {
			if less.Way.before(d.Way) && less.gets(hosts) {
				return standsBefore(less, d, hosts)
			}
		}
	}
	if !isFirst {
		return nil
	}
	for _, less := range c.doors {
		if o.compared++; o.compared > o.entered*comparedPerDoor {
			break
		}
		if !o.mayWarn(less) || !less.gets(hosts) {
			continue
		}
		if less.place() != d.place() || !d.covers(less, hostpattern.SetOf(hosts)) {
			o.warnMisdirected(less, d, hosts)
		}
	}
	return nil
}

// mayWarn reports whether there can be another warning about a door.
func (o *Owners) mayWarn(less *Door) bool {
	return less.misdirected <= maxNamed && o.compared <= o.entered*comparedPerDoor
}

// warnMisdirected says that requests which a door gets are answered 421.
func (o *Owners) warnMisdirected(less, owner *Door, hosts string) {
	const message = "requests for a host of another site are answered 421 misdirected"
	if less.misdirected++; less.misdirected > maxNamed {
		o.Logger.Warn(message, zap.String("host", "more hosts, which are not named"), zap.Stringer("at", less))
		return
	}
	o.Logger.Warn(message, zap.String("host", hosts), zap.Stringer("at", less), zap.Stringer("owner", owner),
		zap.String("write", bothAddresses(owner, less, hosts)))
}
