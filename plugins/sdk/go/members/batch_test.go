package members

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// records encodes a batch of records, whose fields are "key=text" or "key:JSON".
func records(list ...[]string) []byte {
	var b []byte
	for _, fields := range list {
		m := &Member{}
		for _, f := range fields {
			i := strings.IndexAny(f, "=:")
			if f[i] == '=' {
				m.Set(f[:i], f[i+1:])
			} else {
				m.SetJSON(f[:i], f[i+1:])
			}
		}
		b = append(b, encode(m)...)
	}
	return b
}

// encode returns the record of a member after all its fields were set.
func encode(m *Member) []byte {
	b := batch{member: *m, text: "\x00\x00\x00\x00"}
	b.write(0, lengthSize)
	return b.out
}

func show(t *testing.T, input []byte) (list [][]string) {
	t.Helper()
	for len(input) > 0 {
		size := lengthSize + int(binary.LittleEndian.Uint32(input))
		var fields []string
		if _, err := new(batch).each(input[:size], rollcall.Users, func(_ rollcall.Endpoint, m *Member) {
			for _, key := range m.Keys() {
				sign := "="
				if m.IsJSON(key) {
					sign = ":"
				}
				fields = append(fields, key+sign+m.Get(key))
			}
		}); err != nil {
			t.Fatal(err)
		}
		list, input = append(list, fields), input[size:]
	}
	return list
}

var three = records(
	[]string{"id=1", "email=ada@example.com"},
	[]string{"id=2", "email=grace@example.org", "visits:7"},
	[]string{"id=3", "email="},
)

// The layout must be the contract's, byte for byte.
func TestRecordLayout(t *testing.T) {
	want := []byte{
		18, 0, 0, 0,
		2, 'i', 'd', 1, 1, 0, 0, 0, 'x',
		1, 'n', 2, 2, 0, 0, 0, '1', '2',
	}
	if got := records([]string{"id=x", "n:12"}); !bytes.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBatch(t *testing.T) {
	tests := map[string]struct {
		handle func(m *Member)
		want   [][]string // nil: unchanged
	}{
		"nothing": {func(*Member) {}, nil},
		"only looked at": {func(m *Member) {
			if m.ID() == "" || m.Has("none") || m.Get("none") != "" {
				t.Errorf("member %q", m.ID())
			}
		}, nil},
		"set on one": {func(m *Member) {
			if m.ID() == "2" {
				m.Set("email", "g", "***", "@example.org")
			}
		}, [][]string{
			{"id=1", "email=ada@example.com"},
			{"id=2", "email=g***@example.org", "visits:7"},
			{"id=3", "email="},
		}},
		"set on all": {func(m *Member) { m.Set("role", "member"); m.SetInt("n", 5); m.SetBool("ok", true) }, [][]string{
			{"id=1", "email=ada@example.com", "role=member", "n:5", "ok:true"},
			{"id=2", "email=grace@example.org", "visits:7", "role=member", "n:5", "ok:true"},
			{"id=3", "email=", "role=member", "n:5", "ok:true"},
		}},
		"delete": {func(m *Member) { m.Delete("email"); m.Delete("none") }, [][]string{{"id=1"}, {"id=2", "visits:7"}, {"id=3"}}},
		"rename": {func(m *Member) { m.Rename("visits", "email"); m.Rename("none", "id"); m.Rename("id", "id") }, [][]string{
			{"id=1", "email=ada@example.com"}, {"id=2", "email:7"}, {"id=3", "email="},
		}},
		"hide one": {func(m *Member) {
			if strings.HasSuffix(m.Email(), "@example.com") {
				m.Hide()
			}
		}, [][]string{nil, {"id=2", "email=grace@example.org", "visits:7"}, {"id=3", "email="}}},
		"set and deleted again": {func(m *Member) {
			if m.Set("role", "member"); m.ID() != "3" {
				m.Delete("role")
			}
		}, [][]string{
			{"id=1", "email=ada@example.com"}, {"id=2", "email=grace@example.org", "visits:7"}, {"id=3", "email=", "role=member"},
		}},
		"deleted and set again": {func(m *Member) { m.Delete("id"); m.Set("id", "n", "", "ew") }, [][]string{
			{"email=ada@example.com", "id=new"}, {"email=grace@example.org", "visits:7", "id=new"}, {"email=", "id=new"},
		}},
		"set twice": {func(m *Member) {
			m.Set("email", "a", "b")
			m.Set("id", m.Email(), m.ID())
			m.SetInt("email", 7)
		}, [][]string{{"id=ab1", "email:7"}, {"id=ab2", "email:7", "visits:7"}, {"id=ab3", "email:7"}}},
		"hidden and set": {func(m *Member) { m.Hide(); m.Set("n", "1") }, [][]string{{"n=1"}, {"n=1"}, {"n=1"}}},
		"some of all": {func(m *Member) {
			switch m.ID() {
			case "1":
				m.Rename("id", "name")
			case "2":
				m.Delete("email")
				m.SetJSON("visits", `[]`)
			}
		}, [][]string{{"name=1", "email=ada@example.com"}, {"id=2", "visits:[]"}, {"id=3", "email="}}},
		"delete all": {func(m *Member) { m.Delete("id"); m.Delete("email"); m.Delete("visits") }, [][]string{nil, nil, nil}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var b batch
			for range 2 { // batches are reused
				out, err := b.each(three, rollcall.Users, func(_ rollcall.Endpoint, m *Member) { tt.handle(m) })
				if err != nil {
					t.Fatal(err)
				}
				if (out == nil) != (tt.want == nil) {
					t.Fatalf("got %v, want %v", out, tt.want)
				}
				if got := show(t, out); tt.want != nil && !slices.EqualFunc(got, tt.want, slices.Equal[[]string]) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestBatchLeavesTheInputAlone(t *testing.T) {
	input := slices.Clone(three)
	var b batch
	if _, err := b.each(input, rollcall.Users, func(_ rollcall.Endpoint, m *Member) {
		m.Delete("id")
		m.Set("email", "")
		m.Rename("email", "mail")
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(input, three) {
		t.Error("the input was written to")
	}
}

func TestTextsMayBeKept(t *testing.T) {
	var b batch
	var kept []string
	input := slices.Clone(three)
	for range 2 {
		if _, err := b.each(input, rollcall.Users, func(_ rollcall.Endpoint, m *Member) {
			m.Set("both", m.ID(), m.Email())
			kept = append(kept, m.ID(), m.Get("both"), m.Keys()[1])
		}); err != nil {
			t.Fatal(err)
		}
		copy(input, bytes.ReplaceAll(three, []byte("a"), []byte("!")))
	}
	if got, want := strings.Join(kept[:6], " "), "1 1ada@example.com email 2 2grace@example.org email"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBatchPassesOverWhoIsLeftOut(t *testing.T) {
	var b batch
	calls := 0
	out, err := b.each(records([]string{"id=1"}, nil), rollcall.Users, func(rollcall.Endpoint, *Member) { calls++ })
	if out != nil || err != nil || calls != 1 {
		t.Errorf("%d calls, %v, %v", calls, out, err)
	}
}

func TestBatchIsRefused(t *testing.T) {
	record := func(bytes ...byte) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(bytes))), bytes...)
	}
	tests := map[string][]byte{
		"half a length":        {1, 0, 0},
		"length beyond":        {255, 255, 255, 255},
		"key beyond":           record(5, 'i', 'd'),
		"key without a type":   record(2, 'i', 'd'),
		"unknown type":         record(1, 'a', 3, 0, 0, 0, 0),
		"value beyond":         record(1, 'a', 1, 9, 0, 0, 0, 'x'),
		"value without length": record(1, 'a', 1, 0, 0),
		"cut":                  three[:len(three)-1],
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			var b batch
			if out, err := b.each(input, rollcall.Users, func(rollcall.Endpoint, *Member) {}); err == nil {
				t.Errorf("got %v", out)
			}
		})
	}
}

func TestBatchAllocatesItsTextOnly(t *testing.T) {
	var b batch
	handle := func(_ rollcall.Endpoint, m *Member) { m.Set("email", "hidden"); m.Set("role", "member") }
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.each(three, rollcall.Users, handle); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestSetRefusesALongKey(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New("1", "").Set(strings.Repeat("k", 256), "")
}

func TestNewMember(t *testing.T) {
	m := New("u1", "ada@example.com")
	if m.ID() != "u1" || m.Email() != "ada@example.com" || m.Hidden() {
		t.Errorf("got %q", m.Keys())
	}
	if m.Hide(); !m.Hidden() {
		t.Error("not hidden")
	}
}

func FuzzBatch(f *testing.F) {
	f.Add(three)
	f.Add(records(nil, []string{"=x", "a:{}"}))
	f.Fuzz(func(t *testing.T, input []byte) {
		var b batch
		users := 0
		if _, err := b.each(input, rollcall.Users, func(rollcall.Endpoint, *Member) { users++ }); err != nil {
			return
		}
		out, err := b.each(input, rollcall.Users, func(_ rollcall.Endpoint, m *Member) { m.Set("new", "1") })
		if err != nil || (out == nil) != (users == 0) {
			t.Fatalf("%d users: %v, %v", users, out, err)
		}
		out = slices.Clone(out)
		again := 0
		if _, err := b.each(out, rollcall.Users, func(_ rollcall.Endpoint, m *Member) {
			again++
			if m.Get("new") != "1" {
				t.Errorf("the new field is %q", m.Get("new"))
			}
		}); err != nil || again != users {
			t.Errorf("%d users, then %d: %v", users, again, err)
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	var input []byte
	for range 256 {
		input = append(input, records([]string{"id=0123456789", "email=ada@example.com"})...)
	}
	var current batch
	handle := func(_ rollcall.Endpoint, m *Member) { m.Set("email", "a***@example.com") }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := current.each(input, rollcall.Users, handle); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/user")
}
