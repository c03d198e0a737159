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
	// batchResult bounds what a guest may return for a batch, in bytes.
	batchResult = 1 << 20
	// membersBase is the steps of a call of members above those for its users.
	membersBase = 1_000_000
)

// Members is a listing on its way through the plugins of a chain. It keeps one batch of users at a time. It is for one
// goroutine.
type Members struct {
	ctx      context.Context
	plugins  []*Plugin
	endpoint Endpoint
	host     string
	request  []byte
	next     func() (User, bool)

	// held is a user who had no room in the last batch.
	held    User
	hasHeld bool
	ended   bool
	err     error

	// batch has the records of the users who are left, and users the place of each in the batch as it was read. spare and
	// sparePlaces are for the next state of both.
	batch, spare        []byte
	places, sparePlaces []int
	count, at, shown    int // users in the batch, how many Next returned, and how many of these were not left out

	// objects has the JSON of the records in batch, and ends where each ends.
	objects []byte
	ends    []int
	encoded bool
}

// Members passes the users that next returns through the plugins, in batches. request is the body of the request
// without its key, for guests that ask for it. next is called from Next.
func (c *Chain) Members(
	ctx context.Context, e Endpoint, host string, request []byte, next func() (User, bool),
) *Members {
	m := &Members{ctx: ctx, endpoint: e, host: host, request: request, next: next}
	for _, p := range c.load() {
		if p.Hooks().Has(HookMembers) {
			m.plugins = append(m.plugins, p)
		}
	}
	return m
}

// Next returns the next user as a JSON object, which is valid until the next call; nil for a user who is left out. After
// the last user it returns io.EOF.
//
// # Errors
//
// An [*Error] says that a plugin failed whose policy is [Deny]. All calls after an error return it again.
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
	m.count, m.at, m.shown, m.encoded = 0, 0, 0, false
	for m.count < batchRecords {
		u, ok := m.user()
		if !ok {
			break
		}
		if size := codec.UserSize(u.ID, u.Email); m.count > 0 && len(m.batch)+size > batchBytes {
			m.held, m.hasHeld = u, true
			break
		}
		m.batch = codec.AppendUser(m.batch, u.ID, u.Email)
		m.places = append(m.places, m.count)
		m.count++
	}
	if m.count == 0 {
		return io.EOF
	}
	for i, p := range m.plugins {
		if err := m.pass(p, i == len(m.plugins)-1); err != nil {
			return err
		}
	}
	if m.encoded {
		return nil
	}
	return m.show()
}

// show makes the objects of the batch as it is.
func (m *Members) show() error {
	m.objects, m.ends = m.objects[:0], m.ends[:0]
	for rest := m.batch; len(rest) > 0; {
		record, after, err := codec.Cut(rest)
		if err != nil {
			return err
		}
		if err := m.encode(record); err != nil {
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

// pass sends the batch through one plugin. When that fails and its policy is to pass, the batch is as before.
func (m *Members) pass(p *Plugin, last bool) error {
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
		return nil
	default:
		return pool.error(HookMembers, f)
	}
}

// exchange leaves in objects and sparePlaces what the plugin makes of the batch, and in spare too, unless no other plugin
// gets it. An earlier plugin may have made the batch larger than a guest is given: then it goes in parts.
func (m *Members) exchange(p *pool, last bool) *fault {
	m.spare, m.sparePlaces = m.spare[:0], m.sparePlaces[:0]
	m.objects, m.ends = m.objects[:0], m.ends[:0]
	places := m.places
	for batch := m.batch; len(batch) > 0; {
		size, records, err := part(batch)
		if err != nil {
			return p.failed(HookMembers, &fault{ReasonTooLarge, err}, false)
		}
		take := func(result []byte) error { return m.take(result, places[:records], last) }
		changed, f := p.transform(&exchange{
			hook: HookMembers, endpoint: m.endpoint, request: m.request, input: batch[:size],
			budget: membersBase + int64(records)*p.plugin.limits.MembersBudget, most: batchResult, take: take,
		})
		if f != nil {
			return f
		}
		if !changed {
			if err := take(batch[:size]); err != nil {
				return faultf(ReasonBadResult, "%w", err) // cannot be: the records were good before
			}
		}
		batch, places = batch[size:], places[records:]
	}
	return nil
}

// part returns how much of a batch fits into one call.
func part(batch []byte) (size, records int, err error) {
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

// take makes the objects of the records of a result, and adds those that are not empty to spare. Nothing of it is used
// unless all of it is good.
func (m *Members) take(result []byte, places []int, last bool) error {
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
		if err := m.encode(record); err != nil {
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

// encode adds the object of a record.
func (m *Members) encode(record []byte) (err error) {
	if m.objects, err = codec.AppendObject(m.objects, record); err != nil {
		return err
	}
	m.ends = append(m.ends, len(m.objects))
	return nil
}
