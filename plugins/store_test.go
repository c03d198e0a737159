package plugins

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

func number(n int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

func TestSumsStopAtTheirLimits(t *testing.T) {
	for _, tt := range []struct{ a, b, want int64 }{
		{1, 2, 3},
		{-5, 3, -2},
		{math.MaxInt64 - 2, 1, math.MaxInt64 - 1},
		{math.MaxInt64 - 1, 1, math.MaxInt64 - 1},
		{math.MaxInt64, 0, math.MaxInt64 - 1},
		{math.MaxInt64, math.MaxInt64, math.MaxInt64 - 1},
		{math.MinInt64, 0, -(math.MaxInt64 - 1)},
		{math.MinInt64, math.MinInt64, -(math.MaxInt64 - 1)},
		{math.MinInt64 / 2, math.MinInt64/2 - 1, -(math.MaxInt64 - 1)},
		{math.MinInt64, math.MaxInt64, -1},
	} {
		if got := boundedSum(tt.a, tt.b); got != tt.want {
			t.Errorf("%d + %d: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestStoreQuotaCountsKeyValueAnd64Bytes(t *testing.T) {
	const quota = 2 * (1 + 10 + 64)
	b := memory.NewBudget(1 << 20)
	s := newStore(b)
	value := []byte("0123456789")
	for _, key := range []string{"a", "b"} {
		if o := s.set([]byte(key), value, 0, 10, quota); o != stored {
			t.Fatalf("%s: %d", key, o)
		}
	}
	if o := s.set([]byte("c"), nil, 0, 10, quota); o != storeFull {
		t.Errorf("a third entry: %d", o)
	}
	if o := s.set([]byte("a"), append(value, 'x'), 0, 10, quota); o != storeFull {
		t.Errorf("a larger value: %d", o)
	}
	if e, ok := s.get([]byte("a"), 0); !ok || e.value != string(value) {
		t.Errorf("the old value does not stay: %+v", e)
	}
	if sum, o := s.add([]byte("n"), 1, 0, 10, quota); sum != noSum || o != storeFull {
		t.Errorf("a counter: %d, %d", sum, o)
	}
	if sum, o := s.add([]byte("a"), 1, 0, 10, quota); sum != noSum || o != storeMistyped {
		t.Errorf("a value that is no counter: %d, %d", sum, o)
	}
	if o := s.set([]byte("a"), []byte("x"), 0, 10, 1); o != stored {
		t.Errorf("a smaller value with a quota that is exceeded already: %d", o)
	}
	if o := s.set([]byte("b"), nil, 0, 0, quota); o != stored { // removed
		t.Errorf("removal: %d", o)
	}
	if want := int64(1 + 1 + 64); s.used != want || b.Used() != want+storeBytes {
		t.Errorf("%d bytes are used, %d charged, want %d", s.used, b.Used(), want)
	}
	if !s.end(false) || b.Used() != 0 {
		t.Errorf("%d bytes are charged after the end", b.Used())
	}
}

func TestExpiredEntriesDoNotCount(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	s := newStore(b)
	const quota = 10 * (8 + 2 + 64)
	for i := range 10 {
		if sum, o := s.add(fmt.Appendf(nil, "%02d", i), 1, 0, int64(10+i), quota); sum != 1 || o != stored {
			t.Fatalf("%d: %d, %d", i, sum, o)
		}
	}
	if _, o := s.add([]byte("xx"), 1, 9, 100, quota); o != storeFull {
		t.Errorf("before the first expires: %d", o)
	}
	if sum, o := s.add([]byte("xx"), 1, 10, 100, quota); sum != 1 || o != stored {
		t.Errorf("after it: %d, %d", sum, o)
	}
	if sum, o := s.add([]byte("01"), 1, 10, 100, quota); sum != 2 || o != stored { // the time to live is ignored
		t.Errorf("an entry that is there: %d, %d", sum, o)
	}
	if sum, o := s.add([]byte("01"), 1, 11, 100, quota); sum != 1 || o != stored {
		t.Errorf("an entry that has expired: %d, %d", sum, o)
	}
	if _, ok := s.get([]byte("05"), 15); ok {
		t.Error("an expired entry is found")
	}
	if n, bytes := s.size(1000); n != 0 || bytes != 0 || b.Used() != storeBytes {
		t.Errorf("%d entries of %d bytes are left, %d charged", n, bytes, b.Used())
	}
}

func TestStoreIsChargedToTheEngine(t *testing.T) {
	b := memory.NewBudget(2*storeBytes + 200)
	one, other := newStore(b), newStore(b)
	if o := one.set([]byte("a"), nil, 0, 10, 1<<20); o != stored {
		t.Fatal(o)
	}
	if o := one.set([]byte("b"), make([]byte, 1000), 0, 10, 1<<20); o != storeShort {
		t.Errorf("more than the engine has: %d", o)
	}
	if o := other.set([]byte("a"), make([]byte, 200), 0, 10, 1<<20); o != storeShort {
		t.Errorf("another store: %d", o)
	}
	larger := memory.NewBudget(1 << 20)
	one.moveTo(larger)
	if b.Used() != 0 || larger.Used() != 65+storeBytes {
		t.Errorf("moved: %d, %d", b.Used(), larger.Used())
	}
}

// A store of any history is as a map with the entries that have not expired, within the quota.
func TestStoreIsLikeAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type value struct {
		text    string
		expires int64
	}
	const quota = 4000
	b := memory.NewBudget(1 << 30)
	s, model, now := newStore(b), map[string]value{}, int64(0)
	for range 20_000 {
		now += int64(r.IntN(3))
		used := int64(0)
		for k, v := range model {
			if v.expires <= now {
				delete(model, k)
				continue
			}
			used += entrySize(len(k), len(v.text))
		}
		key := fmt.Sprint(r.IntN(100))
		old, found := model[key]
		expires := now + int64(r.IntN(50))
		size := func(n int) int64 {
			if found {
				return int64(n - len(old.text))
			}
			return entrySize(len(key), n)
		}
		switch r.IntN(3) {
		case 0:
			text := strings.Repeat("x", r.IntN(100))
			o := s.set([]byte(key), []byte(text), now, expires, quota)
			switch {
			case expires <= now:
				delete(model, key)
			case size(len(text)) > 0 && used+size(len(text)) > quota:
				if o != storeFull {
					t.Fatalf("set over the quota: %d", o)
				}
			default:
				model[key] = value{text, expires}
			}
		case 1:
			expires++
			sum, _ := s.add([]byte(key), 3, now, expires, quota)
			want := int64(noSum)
			switch {
			case !found && used+size(8) <= quota:
				want = 3
				model[key] = value{string(number(3)), expires}
			case found && len(old.text) == 8:
				want = boundedSum(int64(binary.LittleEndian.Uint64([]byte(old.text))), 3)
				model[key] = value{string(number(want)), old.expires}
			}
			if sum != want {
				t.Fatalf("add: got %d, want %d", sum, want)
			}
		default:
			e, ok := s.get([]byte(key), now)
			text := e.value
			if e.counter {
				text = string(number(int64(e.number)))
			}
			if ok != found || text != old.text {
				t.Fatalf("get: %q, %t, want %q, %t", text, ok, old.text, found)
			}
		}
	}
	bytes := int64(0)
	for k, v := range model {
		if v.expires > now {
			bytes += entrySize(len(k), len(v.text))
		}
	}
	if _, got := s.size(now); got != bytes || b.Used() != bytes+storeBytes {
		t.Errorf("%d bytes, %d charged, want %d", got, b.Used(), bytes)
	}
}

// The map and the heap of a store that was once large are small again.
func TestStoreShrinks(t *testing.T) {
	s := newStore(memory.NewBudget(1 << 30))
	for i := range 10_000 {
		s.add(fmt.Append(nil, i), 1, 0, 10, 1<<30)
	}
	s.add([]byte("stays"), 1, 0, 100, 1<<30)
	if n, _ := s.size(50); n != 1 || s.peak != 1 || cap(s.expiry) > 64 {
		t.Errorf("%d entries, peak %d, heap %d", n, s.peak, cap(s.expiry))
	}
	if sum, _ := s.add([]byte("stays"), 1, 50, 60, 1<<30); sum != 2 {
		t.Errorf("the sum is %d", sum)
	}
}

func TestStoresEndWithTheirClaims(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	st := NewStores()
	sites := func(hosts ...string) func(string) bool {
		return func(host string) bool { return strings.Contains(strings.Join(hosts, " "), host) }
	}
	first, second := &claim{plugin: "p", serves: sites("a", "b")}, &claim{plugin: "p", serves: sites("b", "c")}
	st.add(first)
	for _, host := range []string{"a", "b"} {
		if o := st.open("p", host, b).set([]byte("k"), nil, 0, 10, 1000); o != stored {
			t.Fatal(o)
		}
	}
	if st.open("p", "c", b) != nil || st.open("q", "a", b) != nil {
		t.Error("a store without a claim")
	}
	a, kept := st.open("p", "a", b), st.open("p", "b", b)
	st.add(second)
	st.remove(first)
	st.remove(first)
	if !a.gone || kept.gone || st.open("p", "a", b) != nil || st.open("p", "b", b) != kept || b.Used() != 65+storeBytes {
		t.Errorf("after a reload without host a: %t, %t, %d bytes", a.gone, kept.gone, b.Used())
	}
	st.remove(second)
	if !kept.gone || b.Used() != 0 || len(st.plugins) != 0 {
		t.Errorf("after the last: %t, %d bytes, %v", kept.gone, b.Used(), st.plugins)
	}
}

func TestSweepRemovesWhatHasExpired(t *testing.T) {
	b := memory.NewBudget(1 << 20)
	st := NewStores()
	st.add(&claim{plugin: "p"})
	for i := range 5000 {
		st.open("p", "a", b).add(fmt.Append(nil, i), 1, 0, 10, 1<<20)
	}
	kept := st.open("p", "b", b)
	kept.add([]byte("k"), 1, 0, 100, 1<<20)
	if left := st.sweep(50); left != 1 || b.Used() != 73+storeBytes || kept.gone {
		t.Errorf("%d stores and %d bytes are left", left, b.Used())
	}
	if left := st.sweep(200); left != 0 || b.Used() != 0 || !kept.gone {
		t.Errorf("%d stores and %d bytes are left", left, b.Used())
	}
}
