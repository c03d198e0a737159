package presence

// pushDiff sends a diff to the watchers.
func (h *Host) pushDiff(ch *channel, d Diff) {
	ch.seq++
	d.Seq = ch.seq
	var frames frameSet
	build := func(e Encoding) []byte { return h.registry.frames[e].Presence(d) }
	if d.Names == NamesShown && h.isTooLong(ch, &frames, build) { // many came at once, as after a change of the kind
		h.hideNames(ch)
		d.setNames(ch, false)
		frames = frameSet{}
	}
	var parts diffParts
	for _, m := range ch.watchers {
		switch {
		case m.conn.encoding == 0:
			m.conn.push(frames.get(0, build))
		case d.Names == NamesReturned:
			m.conn.push(h.encodeJoined(m, ""))
		case d.Names == NamesShown && h.isInDiff(m):
			parts.push(m, d)
		default:
			m.conn.push(frames.get(m.conn.encoding, build))
		}
	}
}

// isTooLong reports whether the frame of a diff is too long in an encoding that a watcher may have.
func (h *Host) isTooLong(ch *channel, frames *frameSet, build func(e Encoding) []byte) bool {
	for e := range Encoding(h.encoders()) {
		if ch.hears(e) && len(frames.get(e, build)) > maxList {
			return true
		}
	}
	return false
}

// isInDiff reports whether a watcher has come or gone itself in the diff of this flush, and knows
// itself as a member already.
func (h *Host) isInDiff(m *membership) bool {
	if !m.self {
		return false
	}
	of := h.memberOf(m).in(m.channel)
	return of != nil && of.inDiff
}

// diffParts has the frames of a diff one by one, for watchers who are in it themselves. After a
// Shower has decided about many users, all of them are watchers.
type diffParts [maxEncodings]*dividedDiff

// dividedDiff is a diff in an encoding.
type dividedDiff struct {
	frames []byte
	users  map[string][]span // places of the frames of a user, in order
}

// push sends the diff without the watcher.
func (p *diffParts) push(m *membership, d Diff) {
	of := p[m.conn.encoding]
	if of == nil {
		of = divide(m.conn.frames(), d)
		p[m.conn.encoding] = of
	}
	who, _ := m.conn.who(m.as)
	from := 0
	for _, s := range of.users[who.ID] {
		if s.from > from {
			m.conn.push(of.frames[from:s.from:s.from])
		}
		from = s.to
	}
	if from < len(of.frames) {
		m.conn.push(of.frames[from:])
	}
}

// divide encodes the users of a diff one by one.
func divide(encoder FrameEncoder, d Diff) *dividedDiff {
	of := &dividedDiff{users: make(map[string][]span)}
	add := func(left, joined, updated []View) span {
		part := d
		part.Left, part.Joined, part.Updated = left, joined, updated
		from := len(of.frames)
		of.frames = append(of.frames, encoder.Presence(part)...)
		return span{from: from, to: len(of.frames)}
	}
	for i, u := range d.Left {
		of.users[u.ID] = append(of.users[u.ID], add(d.Left[i:i+1:i+1], nil, nil))
	}
	for i, u := range d.Joined {
		of.users[u.ID] = append(of.users[u.ID], add(nil, d.Joined[i:i+1:i+1], nil))
	}
	if len(d.Updated) > 0 {
		add(nil, nil, d.Updated)
	}
	return of
}
