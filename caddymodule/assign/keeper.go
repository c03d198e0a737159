// Package assign joins users to the channels that a backend assigns them to. The [Keeper] keeps
// assignments in a file, and its [Joiner] joins and removes the connections of those users.
package assign

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// Keeper keeps the assignments of all hosts in memory and in a file. It outlives a configuration,
// so that the file stays open in a reload; no other process can open it meanwhile.
type Keeper struct {
	path     string
	registry *presence.Registry
	Book     *assignment.Book
	Joiner   *Joiner
	logger   *zap.Logger
	metrics

	// mu guards the fields below. It is held while the file is opened.
	mu          sync.Mutex
	file        *assignment.File // nil while it is not open
	timer       *time.Timer      // calls Retry; nil before Start
	swept       time.Time        // full hour of the last sweep
	known       bool             // the file is read, or there is none
	loggedError string           // last error that was logged; "" if none since the last success
	noJournal   bool             // it is logged that the journal cannot be written
	closed      bool
}

// RetryEvery is how often failed opening and saving is retried.
const RetryEvery = 5 * time.Second

// NewKeeper returns a Keeper that has not opened its file. greeted reports whether the welcome of a
// connection is queued, because no frame may precede it.
func NewKeeper(
	path string, registry *presence.Registry, greeted func(*presence.Conn) bool, logger *zap.Logger,
) *Keeper {
	var node [8]byte
	_, _ = rand.Read(node[:]) // never fails: crypto/rand ends the process instead (Go 1.24)
	a := &Keeper{path: path, registry: registry, logger: logger}
	a.Joiner = newJoiner(registry, greeted, logger)
	a.Book = assignment.NewBook(binary.BigEndian.Uint64(node[:]), a.Joiner.applyChange)
	a.Joiner.book = a.Book
	a.metrics = newMetrics(a.Book)
	return a
}

// Start reads the file, if there is one, and retries and sweeps from then on. A pod of a cluster
// creates the file, for assignments from other pods. Starting twice is not an error.
func (a *Keeper) Start(clustered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.timer != nil && !clustered {
		return
	}
	a.logError(a.open(clustered))
	if a.timer == nil {
		a.swept = time.Now().Truncate(assignment.SweepEvery)
		a.timer = time.AfterFunc(RetryEvery, a.Retry)
	}
}

// Retry retries opening and saving, and sweeps once an hour.
func (a *Keeper) Retry() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.timer == nil {
		return
	}
	before, unsaved := a.file, a.Book.Unsaved() > 0
	err := a.open(unsaved)
	if err == nil && unsaved {
		err = a.Book.Save()
	}
	works := a.file != before || unsaved // otherwise nothing was tried, and the last error stands
	if hour := time.Now().Truncate(assignment.SweepEvery); !hour.Equal(a.swept) {
		a.swept = hour
		err = errors.Join(err, a.Book.Sweep()) // with or without a file
	}
	if err != nil || works {
		a.logError(err)
	}
	if a.file != nil {
		a.logJournal(a.file.RetryJournal())
	}
	a.timer.Reset(RetryEvery)
}

// logJournal logs the first error of the journal, and the end of its errors. The lock is held.
func (a *Keeper) logJournal(err error) {
	if err != nil && !a.noJournal {
		a.logger.Warn("the journal of assignments cannot be written, changes cost twice as much: check the disk", zap.Error(err))
	}
	if err == nil && a.noJournal {
		a.logger.Info("the journal of assignments can be written again")
	}
	a.noJournal = err != nil
}

// open opens the file, unless it is open. If there is no file, it creates one only if create is
// set. The lock is held. An error wraps [assignment.ErrUnavailable].
func (a *Keeper) open(create bool) error {
	if a.file != nil || a.closed {
		return nil
	}
	if _, err := os.Stat(a.path); !create && errors.Is(err, fs.ErrNotExist) {
		a.known = true
		return nil
	}
	f, err := a.read(a.path)
	if err != nil {
		return fmt.Errorf("%w: %w", assignment.ErrUnavailable, err)
	}
	a.file, a.known = f, true
	a.logger.Info("assignments opened", zap.String("file", a.path), zap.Int("assignments", a.Book.Len()))
	return nil
}

// Known reports whether the book has had what is in the file, if there is one.
func (a *Keeper) Known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// read opens the file and loads its assignments.
func (a *Keeper) read(path string) (*assignment.File, error) {
	f, err := assignment.OpenFile(path)
	if err != nil {
		return nil, err
	}
	if renamed := f.Renamed(); renamed != "" {
		a.logger.Error("the file of assignments was damaged and is set aside: "+
			"other pods bring back what was in it, or assign all users again", zap.String("file", renamed))
	}
	if err := a.Book.Attach(f); err != nil {
		_ = f.Close() // the first error is more useful
		return nil, err
	}
	if n, kept := f.Damaged(); n > 0 {
		a.logger.Error("damaged assignments are left out: other pods bring them back, or assign these users again",
			zap.String("file", path), zap.Int("damaged", n), zap.String("kept", kept))
	}
	return f, nil
}

// logError logs an error once, until there is another one or none. The lock is held.
func (a *Keeper) logError(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != a.loggedError {
		a.logger.Error("assignments cannot be kept: adduser and removeuser answer 503", zap.Error(err))
	}
	if text == "" && a.loggedError != "" {
		a.logger.Info("assignments can be kept again")
	}
	a.loggedError = text
}

// Change opens the file if necessary and calls f to change the book.
func (a *Keeper) Change(f func(b *assignment.Book) ([]assignment.Record, error)) ([]assignment.Record, error) {
	a.mu.Lock()
	err := a.open(true)
	a.mu.Unlock()
	var records []assignment.Record
	if err == nil {
		records, err = f(a.Book)
	}
	a.countWrite(err)
	if len(records) > 0 || errors.Is(err, assignment.ErrUnavailable) {
		a.mu.Lock()
		a.logError(err)
		a.mu.Unlock()
	}
	return records, err
}

// Close closes the file.
func (a *Keeper) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.Book.Detach()
	if a.file == nil {
		return nil
	}
	f := a.file
	a.file = nil
	return f.Close()
}

// Granted implements presence.Granter: an assignment grants all permissions in a channel that needs
// a grant.
func (a *Keeper) Granted(host presence.HostName, channel string, user presence.User) presence.Permissions {
	if a.Book.Mode(host, user.ID, channel) == assignment.None {
		return 0
	}
	return presence.MayAll
}

// Mode returns how a user is assigned to a channel. An assignment to an active channel has no
// effect if other rules have made the channel anonymous. Mode does no I/O.
func (a *Keeper) Mode(host presence.HostName, user, channel string) assignment.Mode {
	mode := a.Book.Mode(host, user, channel)
	if mode == assignment.None {
		return mode
	}
	if active := a.registry.Host(host); active != nil {
		if kind, ok := active.KindOf(channel); ok && kind != presence.Authenticated {
			return assignment.None
		}
	}
	return mode
}
