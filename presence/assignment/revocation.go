package assignment

import (
	"fmt"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Skew is how far the clocks of pods and of an issuer of tokens may differ.
const Skew = 5 * time.Second

// Revoke refuses tokens of users that were issued up to now and [Skew], or up to issuedBefore if it
// is not 0 (Unix seconds), and those that do not say when they were issued. The revocation lasts
// for the duration. It returns the records for other pods.
//
// "Now" is the latest clock of all pods, so that a pod whose clock is behind revokes no less than
// another one. If it is ahead of the issuer's, tokens that are issued later would be refused too.
// Therefore no pod refuses those that were issued, by its own clock, after it had received the
// revocation.
//
// It returns ErrTooManyValues or ErrUnavailable, and then it has changed nothing.
func (b *Book) Revoke(host presence.HostName, users []string, issuedBefore int64, lasts time.Duration) ([]Record, error) {
	now := b.Time()
	upTo := uint64(max(0, issuedBefore))
	if issuedBefore == 0 {
		upTo = (now + uint64(Skew.Milliseconds())) / 1000
	}
	until := min(now+uint64((lasts+Skew).Milliseconds()), maxValue)
	records := make([]Record, 0, len(users))
	seen := make(map[string]bool, len(users))
	fresh := 0
	for _, user := range users {
		if seen[user] {
			continue
		}
		seen[user] = true
		if _, known := b.valueOf(host, user, KindRevocation); !known {
			fresh++
		}
		records = append(records, Record{Host: host, User: user, Kind: KindRevocation, Value: min(upTo, maxValue), Until: until})
	}
	if fresh > 0 && !b.room(&Record{Host: host, Kind: KindRevocation}, fresh) {
		return nil, fmt.Errorf("%w: the limit of revocations on a host is %d", ErrTooManyValues, MaxRevokedOfHost)
	}
	if _, err := b.write(records); err != nil {
		return nil, err
	}
	return records, nil
}

// local returns the part of the value of a record that applies on this pod from now on.
func (b *Book) local(r *Record) uint64 {
	if r.Kind == KindRevocation && r.Value > r.Version.Clock>>clockBits/1000 { // up to now, not up to a given time
		return min(r.Value, unixMilli(b.now().Add(Skew))/1000)
	}
	return r.Value
}

// Revoked reports whether a token of the user is refused that was issued then (Unix seconds; 0 if
// it does not say), and for how long its revocation has been made. It does no I/O.
func (b *Book) Revoked(host presence.HostName, user string, issued int64) (since time.Duration, revoked bool) {
	v, known := b.valueOf(host, user, KindRevocation)
	if !known || uint64(max(0, issued)) > v.local || v.until < unixMilli(b.now()) {
		return 0, false
	}
	return v.since(b.Time()), true
}

// since returns the time since the record was made.
func (v *value) since(now uint64) time.Duration {
	const longest = maxValue / 1000 // in a time.Duration
	made := v.version.Clock >> clockBits
	switch {
	case made <= now:
		return time.Duration(min(now-made, longest)) * time.Millisecond
	case made <= now+uint64(Skew.Milliseconds()): // versions can run ahead of the clock
		return 0
	}
	return longest * time.Millisecond // by a cluster's clock that was ahead, and that this pod has left
}

// OnRevoked sets the function that is called without a lock when more tokens of a user are refused
// than before, with the time since the revocation was made on any pod. It must be called before the
// first use of the book.
func (b *Book) OnRevoked(revoked func(host presence.HostName, user string, since time.Duration)) {
	b.onValue[KindRevocation] = func(r *applied) {
		if v := valueOf(&r.Record); r.raised {
			revoked(r.Host, r.User, v.since(b.Time()))
		}
	}
}

// Revocations returns the number of revocations, including those that ended in this hour.
func (b *Book) Revocations() int {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.values[KindRevocation].total
}
