package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Key is what clients write and read: the assignment of a user to a channel.
type Key struct{ User, Channel string }

// Kind is what an operation does.
type Kind uint8

// Kinds of operations.
const (
	Write Kind = iota
	// Unfinished is a write that was answered incomplete, or with an error, or not at all. It takes
	// effect at any time after its call, or never.
	Unfinished
	// Read is a read that may be concurrent with writes.
	Read
	// RestRead is a read after the last write, when all pods must have the same.
	RestRead
)

// Operation is one request for a key.
type Operation struct {
	Kind  Kind
	By    string // client and pod, for errors
	Value string // value written or returned; "" is the value before the first write
	// Call and Return are times since the start of the recorder. Return of an unfinished write
	// means nothing.
	Call, Return time.Duration
}

func (o Operation) String() string {
	kind := [...]string{Write: "wrote", Unfinished: "may have written", Read: "read", RestRead: "read at rest"}[o.Kind]
	return fmt.Sprintf("%s %s %q from %s to %s", o.By, kind, o.Value, o.Call.Round(time.Millisecond), o.Return.Round(time.Millisecond))
}

func (o Operation) writes() bool { return o.Kind == Write || o.Kind == Unfinished }

// Maximum number of operations of a key. The time of the check grows exponentially with the
// unfinished ones.
const (
	MaxOperations = 20
	MaxUnfinished = 4
)

// Errors of [Check].
var (
	ErrTooMany         = errors.New("too many operations for a check that ends")
	ErrNotLinearizable = errors.New("no order of the writes explains the reads at rest")
	ErrNotRegular      = errors.New("a read returned neither the last write before it nor a concurrent one")
	ErrNotAtRest       = errors.New("reads at rest differ")
)

// Check judges the operations of one key. The error has all of them.
func Check(ops []Operation) error {
	err := checkBounds(ops)
	if err == nil {
		err = errors.Join(checkRest(ops), checkLinearizable(ops), checkRegular(ops))
	}
	if err == nil {
		return nil
	}
	lines := make([]string, len(ops))
	for i, o := range sorted(ops) {
		lines[i] = "\t" + o.String()
	}
	return fmt.Errorf("%w:\n%s", err, strings.Join(lines, "\n"))
}

func sorted(ops []Operation) []Operation {
	return slices.SortedFunc(slices.Values(ops), func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
}

func checkBounds(ops []Operation) error {
	unfinished := 0
	for _, o := range ops {
		if o.Kind == Unfinished {
			unfinished++
		}
	}
	if len(ops) > MaxOperations || unfinished > MaxUnfinished {
		return fmt.Errorf("%w: %d, and %d unfinished", ErrTooMany, len(ops), unfinished)
	}
	return nil
}

func checkRest(ops []Operation) error {
	var first *Operation
	for i, o := range ops {
		switch {
		case o.Kind != RestRead:
		case first == nil:
			first = &ops[i]
		case o.Value != first.Value:
			return fmt.Errorf("%w: %s, and %s", ErrNotAtRest, *first, o)
		}
	}
	return nil
}

// Recorder collects operations. It is safe for concurrent use.
type Recorder struct {
	start time.Time

	// mu guards the fields below.
	mu      sync.Mutex
	ops     map[Key][]Operation
	pending map[Key][]Kind // of operations between Begin and End
}

// NewRecorder returns a recorder whose time begins now.
func NewRecorder() *Recorder {
	return &Recorder{start: time.Now(), ops: make(map[Key][]Operation), pending: make(map[Key][]Kind)}
}

// Reserve is the room of a key that is kept for later: for operations in all, and for unfinished
// writes.
type Reserve struct{ Operations, Unfinished int }

// Begin returns the time of the call of an operation for some keys. ok is false if the check of a
// key would not have room for it in addition to the reserve.
func (r *Recorder) Begin(kind Kind, keep Reserve, keys ...Key) (call time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		unfinished := 0
		for _, pending := range r.pending[k] {
			if pending == Write || pending == Unfinished {
				unfinished++
			}
		}
		for _, o := range r.ops[k] {
			if o.Kind == Unfinished {
				unfinished++
			}
		}
		writes := kind == Write || kind == Unfinished
		if len(r.ops[k])+len(r.pending[k])+keep.Operations >= MaxOperations ||
			writes && unfinished+keep.Unfinished >= MaxUnfinished {
			return 0, false
		}
	}
	for _, k := range keys {
		r.pending[k] = append(r.pending[k], kind)
	}
	return time.Since(r.start), true
}

// End records the operation that began with this kind. Its return is now. An operation without a
// result is nil, and is not recorded.
func (r *Recorder) End(began Kind, o *Operation, keys ...Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		r.pending[k] = slices.Delete(r.pending[k], slices.Index(r.pending[k], began), slices.Index(r.pending[k], began)+1)
		if o != nil {
			o.Return = time.Since(r.start)
			r.ops[k] = append(r.ops[k], *o)
		}
	}
}

// Count returns the number of recorded operations of a kind, over all keys.
func (r *Recorder) Count(kind Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, ops := range r.ops {
		for _, o := range ops {
			if o.Kind == kind {
				n++
			}
		}
	}
	return n
}

// Check judges each key, and returns the keys that are wrong with their errors.
func (r *Recorder) Check() map[Key]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong := make(map[Key]error)
	for k, ops := range r.ops {
		if err := Check(ops); err != nil {
			wrong[k] = err
		}
	}
	return wrong
}
