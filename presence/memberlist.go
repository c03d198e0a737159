package presence

// memberList has the members of a user: one in each of its channels. Most users are in one or two.
type memberList struct {
	few  [2]*member
	more *moreMembers // has all of them; nil if there are few
}

// moreMembers are the members of a user who is in several channels.
type moreMembers struct {
	list swapList[member]     // see member.userIndex
	in   map[*channel]*member // nil if list is short enough to search
}

// shortMembers is the largest number of members that are searched one by one.
const shortMembers = 4

// all returns the members, until the next call of add or remove.
func (l *memberList) all() []*member {
	switch {
	case l.more != nil:
		return l.more.list
	case l.few[0] == nil:
		return nil
	case l.few[1] == nil:
		return l.few[:1]
	}
	return l.few[:]
}

func (l *memberList) isEmpty() bool { return l.few[0] == nil && l.more == nil }

// in returns the member in a channel; nil if there is none.
func (l *memberList) in(ch *channel) *member {
	if l.more != nil && l.more.in != nil {
		return l.more.in[ch]
	}
	for _, m := range l.all() {
		if m.channel == ch {
			return m
		}
	}
	return nil
}

func (l *memberList) add(m *member) {
	n := len(l.all())
	m.userIndex = int32(n)
	if l.more == nil && n < len(l.few) {
		l.few[n] = m
		return
	}
	if l.more == nil {
		l.more = &moreMembers{list: append(make([]*member, 0, shortMembers), l.few[:]...)}
		l.few = [2]*member{}
	}
	more := l.more
	more.list = append(more.list, m)
	switch {
	case more.in != nil:
		more.in[m.channel] = m
	case n >= shortMembers:
		more.in = make(map[*channel]*member, n+1)
		for _, m := range more.list {
			more.in[m.channel] = m
		}
	}
}

func (l *memberList) remove(m *member) {
	more := l.more
	if more == nil {
		if m.userIndex == 0 && l.few[1] != nil {
			l.few[0], l.few[1].userIndex = l.few[1], 0
			l.few[1] = nil
			return
		}
		l.few[m.userIndex] = nil
		return
	}
	more.list.remove(m.userIndex, func(m *member) *int32 { return &m.userIndex })
	delete(more.in, m.channel)
	switch len(more.list) {
	case 1:
		l.few[0], l.more = more.list[0], nil
	case shortMembers / 2:
		more.in = nil
	}
}
