package cluster

import (
	"cmp"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/memory"
)

// defaultName is the name of a deployment without one.
const defaultName = "rollcall"

// openMemory opens the file of cfg.Memory, if there is one, and sets cfg.memory.
func (cfg *Config) openMemory() (closeFile func() error, err error) {
	if cfg.Memory == "" {
		return func() error { return nil }, nil
	}
	store, err := memory.Open(cfg.Memory, cmp.Or(cfg.Name, defaultName))
	if err != nil {
		return nil, err
	}
	if renamed := store.Renamed(); renamed != "" {
		cfg.Logger.Error("the file of known pods was damaged and is set aside: "+
			"answers can lack the pods that this one missed, until they are heard", zap.String("file", renamed))
	}
	cfg.memory = store
	return store.Close, nil
}

// begin returns what the last run knew, with the start of this run in its place. That is later than
// the start of the last run, whatever the clock says.
func begin(mem membership.Memory, wall time.Time, logger *zap.Logger) (memory.State, error) {
	if mem == nil {
		return memory.State{Started: wall.UnixMilli()}, nil
	}
	known, err := mem.Load()
	if err != nil {
		return known, err
	}
	if known.Damaged > 0 {
		logger.Error("damaged records of known pods are left out: "+
			"answers can lack the pods that this one missed, until they are heard", zap.Int("damaged", known.Damaged))
	}
	known.Started = max(wall.UnixMilli(), known.Started+1)
	kept := known
	kept.Sites = nil // they are not new
	if err := mem.Save(kept); err != nil {
		return known, fmt.Errorf("saving the start of this run: %w", err)
	}
	return known, nil
}
