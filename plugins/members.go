package plugins

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/rollcall-gateway/rollcall/internal/plural"
	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

const (
	batchRecords = 256
	batchBytes   = 64 << 10
	// batchResult is the longest result for a batch, in bytes.
	batchResult = 1 << 20
	// membersBase is the number of steps of a call of members in addition to those for its users.
	membersBase = 1_000_000
)

// Members passes a listing through the plugins of a chain, one batch of users at a time. It must
// not be used concurrently.
type Members struct {
	ctx      context.Context
	plugins  []*Plugin
	hook     Hook
	show     []string // keys that are shown besides id, with HookMembersLive
	endpoint Endpoint
	host     string
	request  []byte
	next     func() (User, bool)

	// held is the user that did not fit into the last batch.
	held    User
	hasHeld bool
	ended   bool
	err     error
	passed  *Error // failure of a plugin whose policy is to pass, in this batch

	// batch holds the records of the users that are left, and places the index of each in the batch
	// as it was read. spare and sparePlaces become the next batch and places.
	batch, spare        []byte
	places, sparePlaces []int
	count, at, shown    int // users in the batch; of these returned by Next; of these not left out

	// objects holds the JSON of the records in batch, and ends the end of each. After the last
	// plugin of HookMembersLive, results holds them instead.
	objects []byte
	ends    []int
	results []Shown
	encoded bool
}

// Members passes the users that next returns through the plugins, in batches. request is the body
// of the request without its key; guests can ask for it. next is called from Next.
func (c *Chain) Members(
	ctx context.Context, e Endpoint, host string, request []byte, next func() (User, bool),
) *Members {
	return &Members{
		ctx: ctx, plugins: c.with(HookMembers), hook: HookMembers, endpoint: e, host: host, request: request, next: next,
	}
}

// Next returns the next user as a JSON object, which is valid until the next call. It returns nil
// for a user that a plugin left out, and io.EOF after the last user.
//
// # Errors
//
// It returns an [*Error] if a plugin fails whose policy is [Deny]. After an error, all calls return
// it again.
func (m *Members) Next() (object []byte, err error) {
	if m.err != nil {
		return nil, m.err
	}
	if object, err = m.advance(); err != nil {
		m.err = err
		m.batch, m.spare, m.objects = nil, nil, nil
	}
	return object, err
}

func (m *Members) advance() ([]byte, error) {
	if m.at == m.count {
		if err := m.fill(); err != nil {
			return nil, err
		}
	}
	place := m.at
	m.at++
	if m.shown == len(m.places) || m.places[m.shown] != place {
		return nil, nil
	}
	start := 0
	if m.shown > 0 {
		start = m.ends[m.shown-1]
	}
	end := m.ends[m.shown]
	m.shown++
	return m.objects[start:end:end], nil
}

// fill reads the next batch of users and passes it through the plugins.
func (m *Members) fill() error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	m.batch, m.places = m.batch[:0], m.places[:0]
	m.count, m.at, m.shown, m.encoded, m.passed = 0, 0, 0, false, nil
	for m.count < batchRecords {
		u, ok := m.user()
		if !ok {
			break
		}
		record := codec.User(u)
		if m.count > 0 && len(m.batch)+record.Size() > batchBytes {
			m.held, m.hasHeld = u, true
			break
		}
		m.batch = codec.AppendUser(m.batch, &record)
		m.places = append(m.places, m.count)
		m.count++
	}
	if m.count == 0 {
		return io.EOF
	}
	for i, p := range m.plugins {
		if err := m.callPlugin(p, i == len(m.plugins)-1); err != nil {
			return err
		}
	}
	if m.encoded {
		return nil
	}
	return m.encodeBatch()
}

// encodeBatch encodes the records of the batch as objects.
func (m *Members) encodeBatch() error {
	m.objects, m.ends, m.results = m.objects[:0], m.ends[:0], m.results[:0]
	for rest := m.batch; len(rest) > 0; {
		record, after, err := codec.Cut(rest)
		if err != nil {
			return err
		}
		if err := m.encodeRecord(record, true); err != nil {
			return err
		}
		rest = after
	}
	return nil
}

func (m *Members) user() (User, bool) {
	if m.hasHeld {
		m.hasHeld = false
		return m.held, true
	}
	if m.ended {
		return User{}, false
	}
	u, ok := m.next()
	m.ended = !ok
	return u, ok
}

// callPlugin passes the batch through one plugin. If it fails and its policy is to pass, the batch
// stays the same.
func (m *Members) callPlugin(p *Plugin, last bool) error {
	if len(m.places) == 0 {
		return nil
	}
	pool := p.anchor.pool(m.host)
	f := m.exchange(pool, last)
	runtime.KeepAlive(p)
	switch {
	case f == nil:
		m.encoded = true
		m.batch, m.spare = m.spare, m.batch
		m.places, m.sparePlaces = m.sparePlaces, m.places
		return nil
	case p.anchor.policy == Pass:
		m.encoded = false
		m.passed = pool.error(m.hook, f)
		return nil
	default:
		return pool.error(m.hook, f)
	}
}

// exchange fills objects and sparePlaces with the plugin's result. It fills spare too, unless this
// is the last plugin. An earlier plugin may have made the batch too large for one call: then it is
// split.
func (m *Members) exchange(p *pool, last bool) *fault {
	m.spare, m.sparePlaces = m.spare[:0], m.sparePlaces[:0]
	m.objects, m.ends, m.results = m.objects[:0], m.ends[:0], m.results[:0]
	places := m.places
	for batch := m.batch; len(batch) > 0; {
		size, records, err := firstPart(batch)
		if err != nil {
			return p.recordFailure(m.hook, &fault{ReasonTooLarge, err}, false)
		}
		take := func(result []byte) error { return m.addResult(result, places[:records], last) }
		changed, f := p.transform(&exchange{
			hook: m.hook, endpoint: m.endpoint, request: m.request, input: batch[:size],
			budget: membersBase + int64(records)*p.plugin.limits.MembersBudget, maxResult: batchResult, use: take,
		})
		if f != nil {
			return f
		}
		if !changed {
			if err := take(batch[:size]); err != nil {
				return faultf(ReasonBadResult, "%w", err) // impossible: the records were valid before
			}
		}
		batch, places = batch[size:], places[records:]
	}
	return nil
}

// firstPart returns how much of a batch fits into one call.
func firstPart(batch []byte) (size, records int, err error) {
	for rest := batch; len(rest) > 0; records++ {
		record, after, err := codec.Cut(rest)
		if err != nil {
			return 0, 0, err
		}
		if len(batch)-len(after) > batchBytes {
			if records == 0 {
				return 0, 0, fmt.Errorf("one user has %d bytes, a batch has at most %d", len(record), batchBytes)
			}
			break
		}
		size, rest = len(batch)-len(after), after
	}
	return size, records, nil
}

// addResult encodes the records of a result, and adds those that are not empty to spare. If it
// returns an error, the caller uses none of them.
func (m *Members) addResult(result []byte, places []int, last bool) error {
	rest := result
	for i, place := range places {
		if len(rest) == 0 {
			return fmt.Errorf("%s for %s", plural.Of(i, "record"), plural.Of(len(places), "user"))
		}
		record, after, err := codec.Cut(rest)
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		if rest = after; len(record) == 0 {
			continue
		}
		if err := m.encodeRecord(record, last); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		m.sparePlaces = append(m.sparePlaces, place)
		if !last {
			m.spare = codec.AppendRecord(m.spare, record)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("more records than %s", plural.Of(len(places), "user"))
	}
	return nil
}

// encodeRecord encodes a record as an object. last is set if no plugin follows.
func (m *Members) encodeRecord(record []byte, last bool) (err error) {
	if last && m.hook == HookMembersLive {
		shown, err := newShown(record, m.endpoint, m.show)
		m.results = append(m.results, shown)
		return err
	}
	if m.objects, err = codec.AppendObject(m.objects, record); err != nil {
		return err
	}
	m.ends = append(m.ends, len(m.objects))
	return nil
}
