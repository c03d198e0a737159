package message

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

// longest is the sender that takes most of a payload.
var longest = Sender{DataCenter: strings.Repeat("d", maxName), Pod: strings.Repeat("p", maxName)}

// sizes returns what the payloads of the messages take, all of which fit.
func sizes[M Message](t *testing.T, messages []M) []int {
	t.Helper()
	c := NewCodec(secret)
	list := make([]int, len(messages))
	for i, m := range messages {
		payload, err := c.Append(nil, subject, longest, m)
		if err != nil {
			t.Fatalf("part %d of %d: %v", i, len(messages), err)
		}
		list[i] = len(payload)
	}
	return list
}

// full fails when parts, but the last, are not full but for the longest entry.
func full(t *testing.T, sizes []int, parts, slack int) {
	t.Helper()
	if len(sizes) != parts {
		t.Errorf("%d parts, want %d: %v", len(sizes), parts, sizes)
	}
	for i, size := range sizes[:len(sizes)-1] {
		if size < room-slack {
			t.Errorf("part %d has %d of %d bytes", i, size, MaxPayload)
		}
	}
}

// everybody is made once, which takes a while with the race detector.
var everybody = sync.OnceValue(func() []presence.Member {
	list := make([]presence.Member, 100_000)
	for i := range list {
		list[i] = member(fmt.Sprintf("user-%d", i), fmt.Sprintf("user-%d@example.com", i), 1_700_000_000_000+int64(i))
	}
	return list
})

func members(n int) []presence.Member { return everybody()[:n:n] }

// detailedMembers returns members with an info and a status of the longest, and some without.
func detailedMembers(n int) []presence.Member {
	list := slices.Clone(members(n))
	object := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	for i := range list {
		if i%10 > 0 {
			list[i].Info, list[i].InfoTime = object(presence.MaxInfo), 1_700_000_000_456
			list[i].Status, list[i].StatusTime = object(presence.MaxStatus), -1
		}
	}
	return list
}

func detailedListing(n int) presence.Listing {
	l := presence.Listing{Channel: "lobby", Kind: presence.Authenticated}
	for _, m := range detailedMembers(n) {
		l.Users, l.Seen = append(l.Users, m.User), append(l.Seen, m.Seen)
		l.Details = append(l.Details, presence.DetailTimes{Info: m.InfoTime, Status: m.StatusTime})
	}
	return l
}

func users(n int) []presence.User {
	list := make([]presence.User, n)
	for i := range list {
		list[i] = everybody()[i].User
	}
	return list
}

func manyHosts(n int) []HostCount {
	list := make([]HostCount, n)
	for i := range list {
		list[i] = HostCount{Host: mustHost(fmt.Sprintf("portal-%d.example.com", i)), LoggedIn: uint64(i), Hidden: 1}
	}
	return list
}

func manyListeners(n int) []Listener {
	list := make([]Listener, n)
	for i, m := range members(n) {
		list[i] = Listener{Conn: presence.ID{0: 1, 14: byte(i >> 8), 15: byte(i)}, User: m.ID, Email: m.Email, Since: m.Seen, LastSign: m.Seen + 1}
	}
	return list
}

func joinReplies(t *testing.T, parts []*Reply) *Reply {
	t.Helper()
	whole := &Reply{ID: parts[0].ID, Last: true, NotServed: parts[0].NotServed, Unlisted: parts[0].Unlisted, More: parts[0].More}
	for i, part := range parts {
		if part.ID != whole.ID || part.Part != uint32(i) || part.Last != (i == len(parts)-1) || part.NotServed != whole.NotServed {
			t.Errorf("part %d is %d, last %v", i, part.Part, part.Last)
		}
		hashes := append(whole.Count.Hashes, part.Count.Hashes...)
		whole.Count = part.Count
		whole.Count.Hashes = hashes
		whole.Members = append(whole.Members, part.Members...)
		for _, l := range part.Channels {
			if n := len(whole.Channels); n > 0 && whole.Channels[n-1].Channel == l.Channel {
				whole.Channels[n-1].Users = append(whole.Channels[n-1].Users, l.Users...)
				whole.Channels[n-1].Seen = append(whole.Channels[n-1].Seen, l.Seen...)
				whole.Channels[n-1].Details = append(whole.Channels[n-1].Details, l.Details...)
				whole.Channels[n-1].Count += l.Count
				continue
			}
			l.Users, l.Seen = append([]presence.User(nil), l.Users...), append([]int64(nil), l.Seen...)
			l.Details = append([]presence.DetailTimes(nil), l.Details...)
			whole.Channels = append(whole.Channels, l)
		}
		whole.Hosts, whole.Listeners = append(whole.Hosts, part.Hosts...), append(whole.Listeners, part.Listeners...)
		for _, c := range part.Conns {
			if n := len(whole.Conns); n > 0 && whole.Conns[n-1].ID == c.ID {
				whole.Conns[n-1].Channels = append(whole.Conns[n-1].Channels, c.Channels...)
				continue
			}
			c.Channels = append([]string(nil), c.Channels...)
			whole.Conns = append(whole.Conns, c)
		}
	}
	return whole
}

func TestSplitReply(t *testing.T) {
	count := Count{Anonymous: 1, LoggedIn: 2, Users: 3}
	hashes := ascending(MaxHashes)
	channels := make([]string, 400)
	for i := range channels {
		channels[i] = strings.Repeat("c", presence.MaxChannelName-3) + fmt.Sprintf("%03d", i)
	}
	var many []presence.Listing
	for i := range 20_000 {
		many = append(many, presence.Listing{Channel: fmt.Sprintf("channel-%d", i), Kind: presence.Authenticated, Users: users(i % 3)})
		if i%3 == 0 {
			many[i].Users = nil
		}
	}
	tests := []struct {
		name         string
		reply        Reply
		parts, slack int
	}{
		{"nothing", Reply{NotServed: true}, 1, 0},
		{"few", Reply{Count: Count{Users: 1, Hashes: []uint64{1}}}, 1, 0},
		{"hashes", Reply{Count: Count{Anonymous: 1, LoggedIn: 2, Users: 3, Hashes: hashes}, More: true}, 1, 0},
		{"members", Reply{Count: count, Members: members(100_000)}, 8, 60},
		{"hashes and members", Reply{Count: Count{Hashes: hashes}, Members: members(10_000)}, 2, 60},
		{"hosts", Reply{Hosts: manyHosts(20_000)}, 2, 60},
		{"listeners", Reply{Channels: []presence.Listing{{Channel: "lobby", Kind: presence.Authenticated, Count: 20_000}}, Listeners: manyListeners(20_000)}, 3, 80},
		{"what is too long to be sent unasked", Reply{Count: count, Unlisted: true}, 1, 0},
		{"one channel of many", Reply{Channels: []presence.Listing{{Channel: "lobby", Kind: presence.Authenticated, Users: users(100_000)}}}, 7, 600},
		{"a counted channel of many, with times", Reply{Channels: []presence.Listing{{
			Channel: "lobby", Kind: presence.Authenticated, CountOnly: true, Users: users(100_000), Count: 100_000, Seen: make([]int64, 100_000),
		}}}, 9, 120_000}, // room is left for longer times
		{"many channels", Reply{Channels: many}, 2, 700},
		{"members with info", Reply{Count: count, Members: detailedMembers(5_000)}, 23, 6_000},
		{"one channel of many with info", Reply{Channels: []presence.Listing{detailedListing(5_000)}}, 23, 6_000},
		{"channels with many before and behind", Reply{Channels: []presence.Listing{
			{Channel: "a", Kind: presence.Anonymous, Count: 3},
			{Channel: "b", Kind: presence.Authenticated, Users: users(20_000)},
			{Channel: "c", Kind: presence.Authenticated, CountOnly: true, Count: 3},
		}}, 2, 600},
		{"a connection of many channels", Reply{Conns: []Connection{
			{ID: "one", Channels: channels[:1]}, {ID: "two", Email: "e", Since: 1, LastSign: 2, Channels: channels}, {ID: "three"},
		}}, 4, 2 * channelLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.reply.ID = 42
			parts := SplitReply(&tt.reply)
			full(t, sizes(t, parts), tt.parts, tt.slack)
			whole := tt.reply
			whole.Last = true
			if got := joinReplies(t, parts); !reflect.DeepEqual(got, &whole) {
				t.Error("the parts are not what was split")
			}
		})
	}
}

func TestSplitSites(t *testing.T) {
	patterns := func(n int) []string {
		set := make([]string, n)
		for i := range set {
			set[i] = fmt.Sprintf("portal-%d.example.com", i)
		}
		return set
	}
	many := make([]Site, 30_000)
	for i := range many {
		many[i].Sets = [][]string{{fmt.Sprintf("portal-%d.example.com", i)}}
	}
	var wide Site // no product of halves of these is made
	for range maxSets {
		wide.Sets = append(wide.Sets, patterns(1_000))
	}
	tests := []struct {
		name         string
		sites        []Site
		want         []Site // nil: what was split
		parts, slack int
	}{
		{"none", nil, nil, 1, 0},
		{"every host", []Site{{}}, nil, 1, 0},
		{"many sites", many, nil, 2, 30},
		{"many patterns beside few", []Site{{}, {Sets: [][]string{patterns(20_000), {"*.com"}}}, {}}, nil, 1, 0},
		{
			"very many patterns",
			[]Site{{Sets: [][]string{patterns(40_000)}}},
			[]Site{{Sets: [][]string{patterns(40_000)[:20_000]}}, {Sets: [][]string{patterns(40_000)[20_000:]}}},
			2, 150_000,
		},
		{"the shortest of the sets", []Site{{Sets: [][]string{patterns(40_000), {"*.com"}}}}, []Site{{Sets: [][]string{{"*.com"}}}}, 1, 0},
		{"many sets of many", []Site{wide}, []Site{{Sets: [][]string{patterns(1_000)}}}, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parts := SplitSites(&Sites{Sum: 7, Sites: tt.sites})
			full(t, sizes(t, parts), tt.parts, tt.slack)
			var got []Site
			for i, part := range parts {
				if part.Sum != 7 || part.Part != uint32(i) || part.Parts != uint32(len(parts)) {
					t.Errorf("part %d is %d of %d", i, part.Part, part.Parts)
				}
				got = append(got, part.Sites...)
			}
			if tt.want == nil {
				tt.want = tt.sites
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%d sites, want %d", len(got), len(tt.want))
			}
		})
	}
}

func TestSplitCheck(t *testing.T) {
	for _, n := range []int{0, 1, 50_000} {
		c := &Check{ID: 5, Host: portal}
		for i := range n {
			c.Channels = append(c.Channels, CheckChannel{Channel: fmt.Sprintf("channel-%d", i), Clock: uint64(i) << 20})
		}
		checks := SplitCheck(c)
		full(t, sizes(t, checks), map[int]int{0: 1, 1: 1, 50_000: 2}[n], 30)
		var got []CheckChannel
		for _, check := range checks {
			if check.Host != portal {
				t.Errorf("%d channels: the host is %v", n, check.Host)
			}
			got = append(got, check.Channels...)
		}
		if !reflect.DeepEqual(got, c.Channels) {
			t.Errorf("%d channels: the checks have %d", n, len(got))
		}
	}
}

// What does not fit into any payload ends up in a message that Append refuses.
func TestSplitDetails(t *testing.T) {
	object := `{"a":"` + strings.Repeat("x", presence.MaxInfo-8) + `"}`
	for _, n := range []int{0, 1, 20_000} {
		m := &Details{Host: portal, Hello: n == 1}
		for i := range n {
			u := presence.Detail{ID: fmt.Sprintf("user-%d", i), InfoTime: 1_700_000_000_456 + int64(i)}
			if i%20 == 0 {
				u.Info, u.With = object, presence.FieldInfo
			}
			m.Users = append(m.Users, u)
		}
		parts := SplitDetails(m)
		full(t, sizes(t, parts), map[int]int{0: 1, 1: 1, 20_000: 5}[n], 2100)
		var got []presence.Detail
		for _, part := range parts {
			if part.Host != portal || part.Hello != m.Hello {
				t.Errorf("%d users: a part for %v, hello %v", n, part.Host, part.Hello)
			}
			got = append(got, part.Users...)
		}
		if !reflect.DeepEqual(got, m.Users) {
			t.Errorf("%d users: the parts have %d", n, len(got))
		}
	}
}

func TestSplittingEndsWithEntriesThatAreTooLong(t *testing.T) {
	huge := strings.Repeat("x", MaxPayload+1)
	user := presence.User{ID: huge}
	for _, m := range []Message{
		SplitReply(&Reply{Members: []presence.Member{{User: user}}})[0],
		SplitReply(&Reply{Channels: []presence.Listing{{Channel: "c", Kind: presence.Private, Users: []presence.User{user, user}}}})[1],
		SplitReply(&Reply{Channels: []presence.Listing{{Channel: huge, Kind: presence.Private}}})[1],
		SplitReply(&Reply{Conns: []Connection{{ID: "c", Channels: []string{huge, huge}}}})[1],
		SplitSites(&Sites{Sites: []Site{{Sets: [][]string{{huge}}}}})[0],
		SplitCheck(&Check{Host: portal, Channels: []CheckChannel{{Channel: huge}}})[0],
	} {
		if b, err := NewCodec("").Append(nil, subject, web1, m); err == nil || b != nil {
			t.Errorf("%T: %d bytes, %v", m, len(b), err)
		}
	}
}
