package memory

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func mustOpen(t testing.TB, path, deployment string) *Store {
	t.Helper()
	s, err := Open(path, deployment)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	return s
}

func mustSave(t testing.TB, s *Store, st State) {
	t.Helper()
	if err := s.Save(st); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t testing.TB, s *Store) State {
	t.Helper()
	st, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func wantState(t *testing.T, s *Store, want State) {
	t.Helper()
	if got := mustLoad(t, s); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func run(i int, sites uint64, as message.Standing) message.Run {
	return message.Run{
		DataCenter: "eu", Pod: fmt.Sprintf("pod-%d", i), Incarnation: message.Incarnation{Started: 1_795_737_600_000, Random: uint64(i) + 1<<60},
		Seq: uint64(1000 * i), Sites: sites, Age: uint64(100 * i), Standing: as,
	}
}

func serving(hosts ...string) []message.Site { return []message.Site{{Sets: [][]string{hosts}}} }

// sample returns a state, with all its sites.
func sample() State {
	return State{
		Started: 1_795_737_600_001, Clock: 1 << 50,
		Runs: []message.Run{run(1, 11, message.Heard), run(2, 12, message.Missed), run(3, 11, message.Missed), run(4, 13, message.Ended)},
		Sites: map[uint64][]message.Site{
			11: serving("a.example.com", "*.b.example.com"), 12: {{}, {Sets: [][]string{{"*"}, {"x"}}}},
		},
	}
}

func TestStateIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rollcall", "cluster.db")
	s := mustOpen(t, path, "rollcall")
	wantState(t, s, State{})
	mustSave(t, s, sample())
	wantState(t, s, sample())
	if _, err := Open(path, "rollcall"); !errors.Is(err, boltfile.ErrLocked) {
		t.Errorf("a second process gets %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path, "rollcall")
	wantState(t, s, sample())

	fewer := sample()
	fewer.Runs, fewer.Sites = fewer.Runs[2:], nil
	mustSave(t, s, fewer)
	fewer.Sites = map[uint64][]message.Site{11: sample().Sites[11]}
	wantState(t, s, fewer)
	if s.Renamed() != "" {
		t.Errorf("renamed to %q", s.Renamed())
	}
}

// Sites are given once, and are kept as long as a run refers to them.
func TestSitesAreKeptWithTheirRuns(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "cluster.db"), "rollcall")
	save := func(runs []message.Run, sites map[uint64][]message.Site) {
		t.Helper()
		mustSave(t, s, State{Runs: runs, Sites: sites})
	}
	want := func(sums ...uint64) {
		t.Helper()
		st := mustLoad(t, s)
		for _, sum := range sums {
			if got, ok := st.Sites[sum]; !ok || len(got) == 0 {
				t.Errorf("the sites %d are missing", sum)
			}
		}
		if len(st.Sites) != len(sums) {
			t.Errorf("%d sites, want %v", len(st.Sites), sums)
		}
	}
	one, two := run(1, 11, message.Heard), run(2, 12, message.Heard)
	save([]message.Run{one}, map[uint64][]message.Site{11: serving("a.com"), 12: serving("b.com")})
	save([]message.Run{one, two}, nil) // 12 came before its run
	want(11, 12)
	save([]message.Run{two}, nil)
	want(12)
	save([]message.Run{one, two}, nil)
	want(12)
	save(nil, nil)
	want()
	save([]message.Run{one, two}, nil)
	want() // they are not in the file either
}

// A state is saved every few seconds, and the sites of a pod can have megabytes.
func TestSitesThatAreKnownAreNotWrittenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.db")
	s := mustOpen(t, path, "rollcall")
	st := State{Runs: []message.Run{run(1, 11, message.Heard)}, Sites: map[uint64][]message.Site{11: manySites(2000)}}
	changed := func() (pages int) {
		t.Helper()
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		mustSave(t, s, st)
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page := os.Getpagesize()
		for at := 0; at < len(after); at += page {
			if at >= len(before) || !bytes.Equal(before[at:at+page], after[at:at+page]) {
				pages++
			}
		}
		return pages
	}
	if n := changed(); n < 400 {
		t.Fatalf("2 MB of sites changed %d pages", n)
	}
	if n := changed(); n > 20 {
		t.Errorf("equal sites changed %d pages", n)
	}
	st.Sites = nil
	if n := changed(); n > 20 {
		t.Errorf("no sites changed %d pages", n)
	}
}

// manySites returns sites of 1 KB each.
func manySites(n int) []message.Site {
	sites := make([]message.Site, n)
	for i := range sites {
		sites[i].Sets = [][]string{{fmt.Sprintf("%01000d", i)}}
	}
	return sites
}

func TestSitesOfManyPayloads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.db")
	s := mustOpen(t, path, "rollcall")
	st := State{Runs: []message.Run{run(1, 11, message.Heard)}, Sites: map[uint64][]message.Site{11: manySites(2000)}}
	mustSave(t, s, st)
	wantState(t, s, st)
	st.Sites[11] = st.Sites[11][:700] // fewer parts
	mustSave(t, s, st)
	wantState(t, s, st)
}

func TestAnotherDeploymentStartsAfresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.db")
	s := mustOpen(t, path, "rollcall")
	mustSave(t, s, sample())
	_ = s.Close()
	s = mustOpen(t, path, "other")
	st := mustLoad(t, s)
	if st.Started != sample().Started || st.Clock != sample().Clock || len(st.Runs) != 0 || len(st.Sites) != 0 || st.Damaged != 0 {
		t.Errorf("%+v", st)
	}
	mustSave(t, s, State{Started: st.Started + 1, Runs: []message.Run{run(9, 0, message.Heard)}})
	_ = s.Close()
	s = mustOpen(t, path, "rollcall")
	if st := mustLoad(t, s); st.Started != sample().Started+1 || len(st.Runs) != 0 {
		t.Errorf("%+v", st)
	}
}

// A build with other payloads hears none of those pods.
func TestStateOfAnotherVersion(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "cluster.db"), "rollcall")
	mustSave(t, s, sample())
	err := s.file.Update(func(tx *bbolt.Tx) error {
		h := encodeHead(&head{version: message.Version - 1, started: 7, clock: 8, runs: 4, deployment: "rollcall"})
		return tx.Bucket(rootBucket).Put(headKey, h)
	})
	if err != nil {
		t.Fatal(err)
	}
	if st := mustLoad(t, s); st.Started != 7 || st.Clock != 8 || len(st.Runs) != 0 || st.Damaged != 0 {
		t.Errorf("%+v", st)
	}
}

func TestBounds(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "cluster.db"), "rollcall")
	var st State
	for i := range maxRuns + 10 {
		st.Runs = append(st.Runs, run(i, 0, message.Missed))
	}
	mustSave(t, s, st)
	if got := mustLoad(t, s).Runs; !reflect.DeepEqual(got, st.Runs[:maxRuns]) {
		t.Errorf("%d runs", len(got))
	}
	err := s.file.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(rootBucket).Bucket(sitesBucket)
		mb := manySites(1000)
		for sum, room := range map[uint64]int{1: 2 << 20, 2: 1 << 19, 3: 1 << 20} {
			size, err := putSum(b, sum, mb, room)
			if fits := sum != 2; err != nil || fits != (size > 1_000_000) || fits != (b.Get(sitesKey(sum, 0)) != nil) {
				t.Errorf("with %d bytes free: %d bytes, %v", room, size, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	err = s.Save(State{Runs: []message.Run{{DataCenter: "eu", Pod: "no name", Standing: message.Heard}}})
	if !errors.Is(err, message.ErrMalformed) || !strings.Contains(err.Error(), "eu/no name") {
		t.Errorf("got %v", err)
	}
}

// A crash leaves the file as it is between two saves.
func TestFileIsWholeAfterEachSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.db")
	s := mustOpen(t, path, "rollcall")
	for i := range 20 {
		st := sample()
		st.Started += int64(i)
		st.Runs = st.Runs[i%4:]
		st.Sites[11], st.Sites[12] = manySites(i), manySites(20-i)
		mustSave(t, s, st)
		want := mustLoad(t, s)
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		again, err := loadImage(t, image)
		if err != nil || !reflect.DeepEqual(again, want) {
			t.Fatalf("after %d saves: %v", i+1, err)
		}
	}
}

// loadImage reads a file with these bytes, for the deployment rollcall. For a damaged file, and for
// one with damaged records, the error wraps ErrDamaged.
func loadImage(t *testing.T, image []byte) (State, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, "rollcall")
	if err != nil {
		return State{}, err
	}
	defer s.Close()
	if s.Renamed() != "" {
		return State{}, boltfile.ErrDamaged
	}
	st, err := s.Load()
	if err == nil && st.Damaged > 0 {
		err = boltfile.ErrDamaged
	}
	return st, err
}

// A flipped bit on disk changes no record, and no run is lost silently.
func TestFlippedBitChangesNoRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.db")
	s := mustOpen(t, path, "rollcall")
	mustSave(t, s, sample())
	want := mustLoad(t, s)
	_ = s.Close()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := 2 * os.Getpagesize(); at < len(image); at++ {
		if image[at] == 0 {
			continue
		}
		flipped := bytes.Clone(image)
		flipped[at] ^= 1 << (at % 8)
		got, err := loadImage(t, flipped)
		switch {
		case errors.Is(err, boltfile.ErrDamaged):
			found++
		case err != nil:
			t.Errorf("byte %d: %v", at, err)
		case !reflect.DeepEqual(got.Runs, want.Runs):
			t.Errorf("byte %d: other runs: %+v", at, got.Runs)
		}
		for _, r := range got.Runs {
			if !slices.Contains(want.Runs, r) {
				t.Errorf("byte %d: the run %+v was never saved", at, r)
			}
		}
		for sum, sites := range got.Sites {
			if !reflect.DeepEqual(sites, want.Sites[sum]) {
				t.Errorf("byte %d: the sites %d were never saved: %+v", at, sum, sites)
			}
		}
	}
	if found < 300 {
		t.Errorf("%d flipped bits were found", found)
	}
}

func TestDamagedRecordsAreLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.db")
	s := mustOpen(t, path, "rollcall")
	mustSave(t, s, sample())
	err := s.file.Update(func(tx *bbolt.Tx) error {
		root := tx.Bucket(rootBucket)
		value := bytes.Clone(root.Bucket(runsBucket).Get(runKey(1)))
		value[20] ^= 1
		return errors.Join(
			root.Bucket(runsBucket).Put(runKey(1), value),
			root.Bucket(runsBucket).Delete(runKey(3)),
			root.Bucket(sitesBucket).Put(sitesKey(11, 0), []byte("x")),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	want.Runs = []message.Run{want.Runs[0], want.Runs[2]}
	want.Sites = map[uint64][]message.Site{}
	want.Damaged = 3
	wantState(t, s, want)
	mustSave(t, s, sample()) // what is given again replaces them
	wantState(t, s, sample())
}

// A damaged file is renamed once. A second one is an error until the first one was moved.
func TestDamagedFileIsRenamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.db")
	s := mustOpen(t, path, "rollcall")
	mustSave(t, s, sample())
	err := s.file.Update(func(tx *bbolt.Tx) error { return tx.Bucket(rootBucket).Put(headKey, []byte("x")) })
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path, "rollcall")
	if s.Renamed() != path+boltfile.DamagedExt {
		t.Errorf("renamed to %q", s.Renamed())
	}
	wantState(t, s, State{})
	_ = s.Close()
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 9000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, "rollcall"); !errors.Is(err, boltfile.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestManySavesAtOnce(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "cluster.db"), "rollcall")
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			st := sample()
			st.Started = int64(i)
			st.Runs = st.Runs[:i%4]
			if err := s.Save(st); err != nil {
				t.Error(err)
			}
			if got, err := s.Load(); err != nil || len(got.Runs) != int(got.Started%4) || got.Damaged != 0 {
				t.Errorf("start %d with %d runs, %d damaged, %v", got.Started, len(got.Runs), got.Damaged, err)
			}
		})
	}
	all.Wait()
}

// A save that fails changes nothing, and a later one succeeds.
func TestFullDisk(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "cluster.db"), "rollcall")
	mustSave(t, s, sample())
	more := sample()
	more.Started++
	more.Sites[13] = manySites(3000)
	end := testkit.LimitFiles(t, 1<<20)
	err := s.Save(more)
	end()
	if err == nil || errors.Is(err, boltfile.ErrDamaged) {
		t.Errorf("got %v", err)
	}
	wantState(t, s, sample())
	mustSave(t, s, more)
	wantState(t, s, more)
}

func BenchmarkSave(b *testing.B) {
	for _, pods := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("%d pods", pods), func(b *testing.B) {
			s := mustOpen(b, filepath.Join(b.TempDir(), "cluster.db"), "rollcall")
			st := State{Sites: map[uint64][]message.Site{11: manySites(10)}}
			for i := range pods {
				st.Runs = append(st.Runs, run(i, 11, message.Heard))
			}
			mustSave(b, s, st)
			st.Sites = nil
			for b.Loop() {
				for i := range st.Runs {
					st.Runs[i].Age++
				}
				mustSave(b, s, st)
			}
		})
	}
}
