package backend

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Keeper keeps a [Courier] through reloads. It opens the file once it is needed, and retries if
// that fails.
type Keeper struct {
	cfg     Config
	wanted  func() bool
	courier atomic.Pointer[Courier] // nil while the file is not open

	// mu guards the fields below. It is held while the file is opened.
	mu     sync.Mutex
	tried  time.Time // time of the last failure to open the file
	err    error     // its error
	retry  *time.Timer
	closed bool
}

// retryPause is the pause after a failure to open the file.
const retryPause = 5 * time.Second

// errStopping is returned after Keeper.Close.
var errStopping = errors.New("the server is stopping")

// NewKeeper returns a Keeper. wanted reports whether the configuration in effect needs the file.
func NewKeeper(cfg Config, wanted func() bool) *Keeper { return &Keeper{cfg: cfg, wanted: wanted} }

// Courier returns the courier, or nil while the file is not open.
func (k *Keeper) Courier() *Courier { return k.courier.Load() }

// Open returns the courier. It opens the file unless that failed less than retryPause ago.
func (k *Keeper) Open() (*Courier, error) {
	if courier := k.courier.Load(); courier != nil {
		return courier, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch courier := k.courier.Load(); {
	case courier != nil:
		return courier, nil
	case k.closed:
		return nil, errStopping
	case k.err != nil && time.Since(k.tried) < retryPause:
		return nil, k.err
	}
	courier, err := Open(k.cfg)
	k.tried, k.err = time.Now(), err
	if err != nil {
		k.cfg.Logger.Error(kinds[k.cfg.Content].words.refused, zap.Error(err), zap.Duration("pause", retryPause))
		return nil, err
	}
	k.courier.Store(courier)
	return courier, nil
}

// Refresh applies the endpoints of the configuration in effect. If the file is wanted, it is opened
// in the background.
func (k *Keeper) Refresh() {
	if courier := k.courier.Load(); courier != nil {
		courier.Refresh()
		return
	}
	if k.wanted() {
		k.openLater(0)
	}
}

// openLater opens the file after a pause, and retries until it is open.
func (k *Keeper) openLater(pause time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.retry != nil {
		return
	}
	k.retry = time.AfterFunc(pause, func() { // stopped by Close
		_, err := k.Open()
		k.mu.Lock()
		k.retry = nil
		k.mu.Unlock()
		if err != nil && k.wanted() {
			k.openLater(retryPause)
		}
	})
}

// Close waits until the deadline for deliveries in progress, and closes the file.
func (k *Keeper) Close(logger *zap.Logger, deadline time.Time) {
	k.mu.Lock()
	k.closed = true
	if k.retry != nil {
		k.retry.Stop()
		k.retry = nil
	}
	courier := k.courier.Swap(nil)
	k.mu.Unlock()
	if courier == nil {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := courier.Close(ctx); err != nil {
		logger.Error(courier.kind.words.closing, zap.Error(err))
	}
}

// Reopen allows the file to be opened again after Close.
func (k *Keeper) Reopen() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed, k.err = false, nil
}
