package memory

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Limits of a file, so that reading it takes no more memory than the pods that it is about.
const (
	maxRuns  = 4096
	maxSites = 256 << 20 // bytes of the sites of all runs
)

// Store keeps a State in a file. A state is written whole or not at all, even if the process or the
// machine crashes meanwhile. Its methods are safe for concurrent use. No other process can open the
// file meanwhile.
type Store struct {
	deployment string
	file       *boltfile.File
	renamed    string // new name of a damaged file that was replaced; "" if there was none
}

// Buckets and keys of the file. The name of the root changes with the layout.
var (
	rootBucket  = []byte("pods-1")
	runsBucket  = []byte("runs")
	sitesBucket = []byte("sites")
	headKey     = []byte("head")
)

// Open opens the file, or creates it and its folder. A damaged file is renamed and replaced by a
// new one, see [Store.Renamed].
//
// It returns [boltfile.ErrLocked] if another process has the file open. It returns
// [boltfile.ErrDamaged] if the file is damaged and its new name is already used by an earlier
// damaged file.
func Open(path, deployment string) (*Store, error) {
	f, renamed, err := boltfile.Open(path, boltfile.Layout{Root: rootBucket, Init: initFile, Check: check})
	if err != nil {
		return nil, fmt.Errorf("opening the file of known pods: %w", err)
	}
	return &Store{deployment, f, renamed}, nil
}

// Renamed returns the new name of a damaged file, which was not read, or "".
func (s *Store) Renamed() string { return s.renamed }

// Close closes the file after the writes in progress.
func (s *Store) Close() error { return s.file.Close() }

func initFile(tx *bbolt.Tx) error {
	root := tx.Bucket(rootBucket)
	for _, name := range [][]byte{runsBucket, sitesBucket} {
		if _, err := root.CreateBucket(name); err != nil {
			return err
		}
	}
	return root.Put(headKey, encodeHead(&head{}))
}

// check reads the head and all pages of the file.
func check(tx *bbolt.Tx) error {
	root := tx.Bucket(rootBucket)
	if _, err := decodeHead(root.Get(headKey)); err != nil {
		return fmt.Errorf("%w: its head: %w", boltfile.ErrDamaged, err)
	}
	for _, name := range [][]byte{runsBucket, sitesBucket} {
		b := root.Bucket(name)
		if b == nil {
			return fmt.Errorf("%w: it has no bucket %q", boltfile.ErrDamaged, name)
		}
		if err := b.ForEach(func(_, _ []byte) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// Load returns the state that was saved last, or the zero State. If it is of another deployment, or
// of a build whose payloads this one does not read, only its start and its clock are returned.
// Damaged records are left out and counted.
//
// It returns [boltfile.ErrDamaged].
func (s *Store) Load() (State, error) {
	var st State
	err := s.file.View(func(tx *bbolt.Tx) error {
		root := tx.Bucket(rootBucket)
		h, err := decodeHead(root.Get(headKey))
		if err != nil {
			return err
		}
		st.Started, st.Clock = h.started, h.clock
		if h.version != message.Version || h.deployment != s.deployment {
			return nil
		}
		st.Runs = loadRuns(root.Bucket(runsBucket))
		st.Damaged = max(0, h.runs-len(st.Runs)) // a damaged page can have lost records without an error
		var broken int
		st.Sites, broken = loadSites(root.Bucket(sitesBucket), sumsOf(&st))
		st.Damaged += broken
		return nil
	})
	if err != nil {
		return State{}, fmt.Errorf("reading the file of known pods: %w", err)
	}
	return st, nil
}

// loadRuns returns the runs whose records are whole.
func loadRuns(b *bbolt.Bucket) (runs []message.Run) {
	c := b.Cursor()
	for key, value := c.First(); key != nil && len(runs) < maxRuns; key, value = c.Next() {
		if r, err := decodeRun(key, value); err == nil {
			runs = append(runs, r)
		}
	}
	return runs
}

// loadSites returns the sites with these sums, and the number of sums whose records are not whole.
func loadSites(b *bbolt.Bucket, wanted map[uint64]bool) (sites map[uint64][]message.Site, broken int) {
	sites = make(map[uint64][]message.Site)
	parts := make(map[uint64]uint32) // parts that are read; beyond those that there are: not whole
	left := make(map[uint64]uint32)
	size := 0
	c := b.Cursor()
	for key, value := c.First(); key != nil; key, value = c.Next() {
		sum, ok := sumOf(key)
		if !ok || !wanted[sum] || size+len(value) > maxSites {
			continue
		}
		size += len(value)
		part, err := decodeSites(key, value)
		if err != nil || part.Part != parts[sum] {
			left[sum] = 1
			continue
		}
		parts[sum]++
		left[sum] = part.Parts - parts[sum]
		sites[sum] = append(sites[sum], part.Sites...)
	}
	for sum, n := range left {
		if n > 0 {
			delete(sites, sum)
			broken++
		}
	}
	return sites, broken
}

// sumsOf returns the sums of the sites of all runs.
func sumsOf(st *State) map[uint64]bool {
	sums := make(map[uint64]bool)
	for i := range st.Runs {
		sums[st.Runs[i].Sites] = true
	}
	return sums
}

// Save replaces the state, and returns when it is on disk. The Sites of st are added to those that
// are kept; those of no run in st are removed. Runs beyond 4096, and sites beyond 256 MiB, are not
// kept.
//
// It returns [boltfile.ErrDamaged].
func (s *Store) Save(st State) error {
	st.Runs = st.Runs[:min(len(st.Runs), maxRuns)]
	runs := make([][]byte, len(st.Runs))
	for i := range st.Runs {
		var err error
		if runs[i], err = encodeRun(i, &st.Runs[i]); err != nil {
			return fmt.Errorf("saving the pod %s/%s: %w", st.Runs[i].DataCenter, st.Runs[i].Pod, err)
		}
	}
	h := encodeHead(&head{
		version: message.Version, started: st.Started, clock: st.Clock, runs: len(runs), deployment: s.deployment,
	})
	err := s.file.Update(func(tx *bbolt.Tx) error {
		root := tx.Bucket(rootBucket)
		return errors.Join(
			root.Put(headKey, h),
			putRuns(root.Bucket(runsBucket), runs),
			putSites(root.Bucket(sitesBucket), &st),
		)
	})
	if err != nil {
		return fmt.Errorf("writing the file of known pods: %w", err)
	}
	return nil
}

// putRuns replaces the runs.
func putRuns(b *bbolt.Bucket, runs [][]byte) error {
	for i, value := range runs {
		if err := b.Put(runKey(i), value); err != nil {
			return err
		}
	}
	return deleteFrom(b, runKey(len(runs)), func([]byte) bool { return true })
}

// putSites removes the sites of no run, and adds the new ones.
func putSites(b *bbolt.Bucket, st *State) error {
	wanted := sumsOf(st)
	for sum := range st.Sites {
		wanted[sum] = true
	}
	size := 0
	err := deleteFrom(b, nil, func(key []byte) bool {
		sum, ok := sumOf(key)
		if !ok || !wanted[sum] {
			return true
		}
		if _, again := st.Sites[sum]; !again {
			size += len(b.Get(key))
		}
		return false
	})
	if err != nil {
		return err
	}
	for _, sum := range slices.Sorted(maps.Keys(st.Sites)) {
		added, err := putSum(b, sum, st.Sites[sum], maxSites-size)
		if err != nil {
			return err
		}
		size += added
	}
	return nil
}

// putSum replaces the sites of one sum, unless the file has exactly these. If they have more bytes
// than there is room for, they are removed. It returns their bytes in the file.
func putSum(b *bbolt.Bucket, sum uint64, sites []message.Site, room int) (size int, err error) {
	values, size, err := encodeSites(sum, sites)
	if err != nil {
		return 0, fmt.Errorf("sites of a pod: %w", err)
	}
	if size > room {
		values, size = nil, 0
	}
	for i, value := range values {
		key := sitesKey(sum, i)
		if bytes.Equal(b.Get(key), value) {
			continue
		}
		if err := b.Put(key, value); err != nil {
			return 0, err
		}
	}
	return size, deleteFrom(b, sitesKey(sum, len(values)), func(key []byte) bool {
		of, ok := sumOf(key)
		return ok && of == sum
	})
}

// deleteFrom deletes the keys from the first one on that are to be deleted.
func deleteFrom(b *bbolt.Bucket, first []byte, unwanted func(key []byte) bool) error {
	var keys [][]byte
	c := b.Cursor()
	for key, _ := c.Seek(first); key != nil; key, _ = c.Next() {
		if unwanted(key) {
			keys = append(keys, slices.Clone(key))
		}
	}
	for _, key := range keys {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
