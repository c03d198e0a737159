package backend

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Environment of a child process of the test, which is to be killed, or has a full disk.
const (
	childFolder = "ROLLCALL_BACKEND_TEST_FOLDER"
	childRoom   = "ROLLCALL_BACKEND_TEST_ROOM"
)

func TestMain(m *testing.M) {
	folder := os.Getenv(childFolder)
	switch room, err := strconv.Atoi(os.Getenv(childRoom)); {
	case folder == "":
		os.Exit(m.Run())
	case err == nil:
		openWithRoom(folder, room)
	default:
		child(folder)
	}
}

const childChannels = 8

// child adds messages to several channels at once, and prints which are on disk, until it is
// killed.
func child(folder string) {
	to := new(endpoints)
	c, err := Open(Config{Folder: folder, Endpoints: to, Observer: new(counts), Logger: zap.NewNop()})
	if err != nil {
		fmt.Println(err)
		return
	}
	host, err := presence.ParseHostName("portal.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	to.set(host, endpointAt("http://127.0.0.1:1"))
	var mu sync.Mutex
	var all sync.WaitGroup
	for channel := range childChannels {
		all.Go(func() {
			for n := range 100_000 {
				if err := c.Add(host, message(strconv.Itoa(channel), n)); err != nil {
					fmt.Println(err)
					return
				}
				mu.Lock()
				fmt.Println(channel, n)
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// TestKilledProcessLosesNothingThatWasAcknowledged repeatedly kills a process that adds messages.
func TestKilledProcessLosesNothingThatWasAcknowledged(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		s := &scene{folder: t.TempDir(), endpoints: new(endpoints)}
		acknowledged := runAndKill(t, self, s.folder, 200+rand.IntN(2000))
		got, host := newReceived(), testkit.MustHost(t, "portal.example.com")
		s.open(t)
		waiting := s.waiting(host).Messages
		server := serve(t, got)
		s.endpoints.set(host, endpointAt(server.URL))
		s.Refresh()
		testkit.Eventually(t, "all arrive", func() bool { return got.len() == waiting })
		total := 0
		want := make(map[string]int)
		for channel := range childChannels {
			key := fmt.Sprint("portal.example.com ", channel)
			// Messages that were written but not acknowledged may be there.
			if n := len(got.order[key]); n < acknowledged[channel] || n > acknowledged[channel]+1 {
				t.Errorf("channel %d has %d messages, %d were acknowledged", channel, n, acknowledged[channel])
			}
			if n := len(got.order[key]); n > 0 {
				want[key] = n
			}
			total += acknowledged[channel]
		}
		got.inOrder(t, want)
		t.Logf("round %d: %d acknowledged, %d there", round, total, waiting)
		s.close(t)
	}
}

// runAndKill runs child and kills it after a number of messages. It returns how many were
// acknowledged, by channel.
func runAndKill(t *testing.T, self, folder string, after int) (acknowledged [childChannels]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childFolder+"="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var channel, number int
		if _, err := fmt.Sscan(lines.Text(), &channel, &number); err != nil {
			t.Errorf("the process printed %q", lines.Text())
			break
		}
		acknowledged[channel] = number + 1
		if n == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process was not killed")
	}
	return acknowledged
}

func TestSecondProcessIsRefused(t *testing.T) {
	s := newScene(t, nil)
	_, err := Open(Config{Folder: s.folder, Endpoints: s.endpoints, Observer: s.counts, Logger: zap.NewNop()})
	if !errors.Is(err, ErrLocked) {
		t.Errorf("the error is %v", err)
	}
}

// Of several couriers that start at the same time in an empty folder, one has the file. The lock
// also works within a process.
func TestOneOfThoseThatStartTogetherHasTheFile(t *testing.T) {
	for range 50 {
		folder := t.TempDir()
		var all sync.WaitGroup
		results := make(chan error, 4)
		for range cap(results) {
			all.Go(func() {
				c, err := Open(Config{Folder: folder, Endpoints: new(endpoints), Observer: new(counts), Logger: zap.NewNop()})
				results <- err
				if err == nil {
					t.Cleanup(func() { _ = c.Close(context.Background()) })
				}
			})
		}
		all.Wait()
		opened := 0
		for range cap(results) {
			if err := <-results; err == nil {
				opened++
			} else if !errors.Is(err, ErrLocked) {
				t.Errorf("the error is %v", err)
			}
		}
		if opened != 1 {
			t.Fatalf("%d couriers have the file", opened)
		}
	}
}

func TestQueueThatIsFullTakesNoMore(t *testing.T) {
	s, host, other := newScene(t, nil), testkit.MustHost(t, "full.example.com"), testkit.MustHost(t, "other.example.com")
	to := endpointAt("http://127.0.0.1:1")
	to.Queue = 10_000
	s.endpoints.set(host, to)
	s.endpoints.set(other, to)
	added := 0
	var err error
	for ; err == nil && added < 1000; added++ {
		err = s.Add(host, message("sales", added))
	}
	if !errors.Is(err, ErrFull) || added < 10 {
		t.Fatalf("%v after %d messages", err, added)
	}
	if w := s.waiting(host); w.Bytes > to.Queue || w.Bytes < to.Queue/2 || w.Messages != added-1 {
		t.Errorf("%+v waits", w)
	}
	for range 50 {
		if err := s.Add(host, message("sales", 0)); !errors.Is(err, ErrFull) {
			t.Errorf("the error is %v", err)
		}
	}
	if n := s.counts.get("not taken full"); n != 51 {
		t.Errorf("%d are counted", n)
	}
	if n := s.logs.FilterMessage("queue for a backend is full: messages are refused").Len(); n != 1 {
		t.Errorf("%d lines are logged", n)
	}
	s.mustAdd(t, other, message("sales", 0))

	got := newReceived()
	s.endpoints.set(host, endpointAt(serve(t, got).URL))
	s.Refresh()
	testkit.Eventually(t, "the accepted messages arrive", func() bool { return got.len() == added-1 })
	got.inOrder(t, map[string]int{"full.example.com sales": added - 1})
	testkit.Eventually(t, "there is room again", func() bool { return s.waiting(host).Bytes == 0 })
}

// A message to several channels is accepted for all of them or for none.
func TestMessagesThatAreAddedTogetherAreTakenTogether(t *testing.T) {
	s, host, got := newScene(t, nil), testkit.MustHost(t, "portal.example.com"), newReceived()
	to := endpointAt("http://127.0.0.1:1")
	to.Queue = 3000
	s.endpoints.set(host, to)
	several := func(n, messages int) (all []Message) {
		for i := range messages {
			all = append(all, message(fmt.Sprint("channel-", i), n))
		}
		return all
	}
	if err := s.Add(host, several(0, 5)...); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(host, several(1, 100)...); !errors.Is(err, ErrFull) {
		t.Errorf("more than there is room for: %v", err)
	}
	bad := several(1, 3)
	bad[2].Message = []byte("no JSON")
	if err := s.Add(host, bad...); err == nil {
		t.Error("a message that is not JSON is accepted")
	}
	if n := s.waiting(host).Messages; n != 5 || s.counts.get("not taken full") != 100 {
		t.Errorf("%d messages wait, counted: %v", n, s.counts.by)
	}
	if err := s.Add(host, several(1, 5)...); err != nil {
		t.Fatal(err)
	}
	s.endpoints.set(host, endpointAt(serve(t, got).URL))
	s.Refresh()
	testkit.Eventually(t, "all arrive", func() bool { return got.len() == 10 })
	want := make(map[string]int)
	for i := range 5 {
		want[fmt.Sprint("portal.example.com channel-", i)] = 2
	}
	got.inOrder(t, want)
}

func TestHostsAreBounded(t *testing.T) {
	s := newScene(t, nil)
	for n := range MaxHosts {
		s.mu.Lock()
		s.queue(Stream{Host: testkit.MustHost(t, fmt.Sprintf("host-%d.example.com", n))})
		s.mu.Unlock()
	}
	host := testkit.MustHost(t, "another.example.com")
	s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
	if err := s.Add(host, message("sales", 0)); !errors.Is(err, ErrFull) || s.counts.get("not taken hosts") != 1 {
		t.Errorf("the error is %v, counted: %v", err, s.counts.by)
	}
}

// waitOnDisk fills a folder with messages that are not delivered, and returns its file.
func waitOnDisk(t *testing.T, n int) (s *scene, file string) {
	t.Helper()
	s = &scene{folder: t.TempDir(), endpoints: new(endpoints)}
	s.open(t)
	host := testkit.MustHost(t, "portal.example.com")
	s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
	for i := range n {
		s.mustAdd(t, host, message("sales", i))
	}
	s.close(t)
	return s, filepath.Join(s.folder, kinds[Copies].file)
}

func TestDamagedRecordIsGivenUpAndTheOthersArrive(t *testing.T) {
	s, file := waitOnDisk(t, 20)
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(kinds[Copies].root)).Bucket([]byte("portal.example.com"))
		cursor, i := b.Cursor(), 0
		for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
			if i++; i == 8 {
				changed := bytes.Clone(v)
				changed[len(changed)/2] ^= 1
				return b.Put(bytes.Clone(k), changed)
			}
		}
		return errors.New("not there")
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	got := newReceived()
	s.endpoints.set(testkit.MustHost(t, "portal.example.com"), endpointAt(serve(t, got).URL))
	s.open(t)
	defer s.close(t)
	testkit.Eventually(t, "the others arrive", func() bool { return got.len() == 19 })
	if s.counts.get("dropped damaged") != 1 || s.logs.FilterMessage("copy given up").Len() != 1 {
		t.Errorf("counted: %v, logged: %v", s.counts.by, s.logs.All())
	}
	if n := got.order["portal.example.com sales"]; n[6] != 6 || n[7] != 8 || n[18] != 19 {
		t.Errorf("got %v", n)
	}
}

// A flipped bit in the name of a host sends nothing to the backend of another host, and is logged.
func TestMessagesUnderAnotherHostAreNotDelivered(t *testing.T) {
	for _, other := range []string{"qortal.example.com", "PORTAL.example.com", "portal.exampl\x00.com"} {
		t.Run(other, func(t *testing.T) {
			s, file := waitOnDisk(t, 20)
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Change the name of the bucket; the records have checksums.
			for _, key := range [][]byte{[]byte("portal.example.com")} {
				for at := 0; ; at += len(key) {
					i := bytes.Index(raw[at:], key)
					if i < 0 {
						break
					}
					at += i
					if !bytes.HasSuffix(raw[:at], []byte(`"host":"`)) {
						copy(raw[at:], other)
					}
				}
			}
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			got := newReceived()
			to := endpointAt(serve(t, got).URL)
			s.endpoints.set(testkit.MustHost(t, "portal.example.com"), to)
			s.endpoints.set(testkit.MustHost(t, "qortal.example.com"), to)
			s.open(t)
			defer s.close(t)
			if s.logs.FilterMessageSnippet("was damaged and is set aside").Len() != 1 {
				t.Errorf("logged: %v", s.logs.All())
			}
			if kept, err := os.ReadFile(file + boltfile.DamagedExt); err != nil || !bytes.Equal(kept, raw) {
				t.Errorf("%d bytes are kept, %v", len(kept), err)
			}
			if n := got.len(); n != 0 {
				t.Errorf("%d were delivered", n)
			}
		})
	}
}

// A record that got under another host while the file was open is discarded.
func TestRecordOfAnotherHostIsGivenUp(t *testing.T) {
	s := newScene(t, nil)
	portal, other := testkit.MustHost(t, "portal.example.com"), testkit.MustHost(t, "other.example.com")
	body, err := Message{Channel: "sales", Mode: Listen, Message: []byte("{}")}.encode("msg_1", portal)
	if err != nil {
		t.Fatal(err)
	}
	got := newReceived()
	s.endpoints.set(other, endpointAt(serve(t, got).URL))
	q := s.queue(Stream{Host: other})
	entries := []entry{{channel: 1, record: encodeRecord("msg_1", body)}}
	if !q.reserve(entries, 1<<20) {
		t.Fatal("no room")
	}
	if err := s.committer.add(q, entries); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is discarded", func() bool { return s.counts.get("dropped damaged") == 1 })
	if n := got.len(); n != 0 {
		t.Errorf("%d were delivered", n)
	}
}

// TestFileThatLostItsEndIsSetAside truncates the file, like a full disk or an interrupted copy.
func TestFileThatLostItsEndIsSetAside(t *testing.T) {
	whole, file := waitOnDisk(t, 200)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = whole
	for _, n := range []int{1, 100, os.Getpagesize(), 2*os.Getpagesize() + 17, 4 * os.Getpagesize(), len(raw) / 4} {
		t.Run(fmt.Sprint(n, " bytes"), func(t *testing.T) {
			s := &scene{folder: t.TempDir(), endpoints: new(endpoints)}
			file := filepath.Join(s.folder, kinds[Copies].file)
			if err := os.WriteFile(file, raw[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			checkDamaged(t, s, file, raw[:n])
		})
	}
}

// TestFileOfRubbishNeverEndsTheProcess overwrites parts of the file at random.
func TestFileOfRubbishNeverEndsTheProcess(t *testing.T) {
	_, file := waitOnDisk(t, 200)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	aside := 0
	for range 60 {
		folder := t.TempDir()
		changed := bytes.Clone(raw)
		at := random.IntN(len(changed))
		if random.IntN(2) == 0 {
			at = random.IntN(min(len(changed), 16*os.Getpagesize())) // within the used pages
		}
		for i := range min(1+random.IntN(3*os.Getpagesize()), len(changed)-at) {
			changed[at+i] = byte(random.Uint32())
		}
		if err := os.WriteFile(filepath.Join(folder, kinds[Copies].file), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		s := &scene{folder: folder, endpoints: new(endpoints)}
		s.open(t)
		host := testkit.MustHost(t, "portal.example.com")
		s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
		s.Refresh()
		// Damage that the check did not see may be found now, as an error.
		err := s.Add(host, message("sales", 1))
		if s.logs.FilterMessageSnippet("set aside").Len() > 0 {
			aside++
			if err != nil {
				t.Errorf("at %d: %v", at, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if closed := s.Close(ctx); closed != nil {
			t.Errorf("at %d: %v", at, closed)
		}
	}
	if aside == 0 || aside == 60 {
		t.Errorf("%d of 60 are set aside", aside)
	}
}

// checkDamaged opens a damaged file, which must be kept, and uses its replacement.
func checkDamaged(t *testing.T, s *scene, file string, content []byte) {
	t.Helper()
	s.open(t)
	kept, err := os.ReadFile(file + boltfile.DamagedExt)
	if err != nil || !bytes.Equal(kept, content) {
		t.Errorf("the damaged file is not kept: %v", err)
	}
	if s.logs.FilterMessageSnippet("was damaged and is set aside").Len() != 1 {
		t.Errorf("logged: %v", s.logs.All())
	}
	host := testkit.MustHost(t, "portal.example.com")
	s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
	s.mustAdd(t, host, message("sales", 0))
	s.close(t)

	// A second damaged file does not replace the first.
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Folder: s.folder, Endpoints: s.endpoints, Observer: s.counts, Logger: zap.NewNop()})
	if err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("the error is %v", err)
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Folder: filepath.Join(file, "below"), Logger: zap.NewNop()})
	if err == nil || !strings.Contains(err.Error(), "making the folder") {
		t.Errorf("the error is %v", err)
	}
}

func TestWritesThatFailAreRefusedAndLaterOnesTaken(t *testing.T) {
	s, host := newScene(t, nil), testkit.MustHost(t, "portal.example.com")
	s.endpoints.set(host, endpointAt("http://127.0.0.1:1"))
	s.mustAdd(t, host, message("sales", 0))
	// The courier's database is closed: each write fails.
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(host, message("sales", 1)); !errors.Is(err, ErrDisk) {
		t.Errorf("the error is %v", err)
	}
	if s.counts.get("not taken disk") != 1 || s.waiting(host).Messages != 1 {
		t.Errorf("counted: %v, %+v waits", s.counts.by, s.waiting(host))
	}
	s.close(t)
	got := newReceived()
	s.endpoints.set(host, endpointAt(serve(t, got).URL))
	s.open(t)
	s.mustAdd(t, host, message("sales", 1))
	testkit.Eventually(t, "both arrive", func() bool { return got.len() == 2 })
	got.inOrder(t, map[string]int{"portal.example.com sales": 2})
}

func TestOldestMessage(t *testing.T) {
	var a ages
	if !a.oldest().IsZero() {
		t.Error("nothing has an age")
	}
	at := func(seconds int) uint64 { return uint64(time.Unix(int64(seconds), 5).UnixNano()) }
	for _, s := range []int{1000, 1001, 1025, 500} {
		a.add(at(s))
	}
	for _, step := range []struct{ remove, oldest int }{{500, 1000}, {1000, 1000}, {1001, 1020}, {77, 1020}} {
		a.remove(at(step.remove))
		if got := a.oldest(); !got.Equal(time.Unix(int64(step.oldest), 0)) {
			t.Errorf("after %d the oldest is of %d", step.remove, got.Unix())
		}
	}
	if a.remove(at(1025)); !a.oldest().IsZero() || len(a.slots) != 0 {
		t.Error("something is left")
	}
}

func TestPauseGrowsToAMinute(t *testing.T) {
	for failures, bound := range map[int]time.Duration{
		0: minPause, 1: minPause, 2: time.Second, 3: 2 * time.Second, 7: 32 * time.Second, 8: maxPause, 1 << 40: maxPause,
	} {
		longest := time.Duration(0)
		for range 2000 {
			p := pause(failures)
			if p <= 0 || p > bound {
				t.Fatalf("%s after %d failures", p, failures)
			}
			longest = max(longest, p)
		}
		if longest < bound/2 {
			t.Errorf("at most %s after %d failures", longest, failures)
		}
	}
}

// BenchmarkAdd measures additions by many connections at once; each waits for the disk.
func BenchmarkAdd(b *testing.B) {
	s, host := newScene(b, nil), testkit.MustHost(b, "portal.example.com")
	to := endpointAt("http://127.0.0.1:1")
	to.Queue = 1 << 40
	s.endpoints.set(host, to)
	b.SetParallelism(128)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		channel := fmt.Sprint("channel-", rand.IntN(100))
		for pb.Next() {
			if err := s.Add(host, message(channel, 1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
