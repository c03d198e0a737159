package assignment

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// EpochShards is the number of shards of a host that have epochs.
const EpochShards = 8

// EpochRetention is how long an epoch is kept after its last [Book.SetEpoch] on any pod.
const EpochRetention = 30 * 24 * time.Hour

// SetEpoch raises the epoch of a shard of the host, in milliseconds of the cluster's clock, and
// returns the record for other pods. The epoch is durable when it returns, and kept for
// EpochRetention from then on, also if it is the known one. A lower one changes nothing.
//
// It returns ErrTooManyValues or ErrUnavailable, and then it has changed nothing.
func (b *Book) SetEpoch(host presence.HostName, shard uint8, epoch uint64) ([]Record, error) {
	if shard >= EpochShards || epoch > maxValue {
		return nil, fmt.Errorf("the epoch %d of the shard %d is out of range", epoch, shard)
	}
	r := Record{
		Host: host, User: shardName(shard), Kind: KindEpoch, Value: epoch,
		Until: min(b.Time()+uint64(EpochRetention.Milliseconds()), maxValue),
	}
	if !b.knows(&r) && !b.room(&r, 1) {
		return nil, fmt.Errorf("%w: the limit of epochs is %d", ErrTooManyValues, maxEpochs)
	}
	records := []Record{r}
	if _, err := b.write(records); err != nil {
		return nil, err
	}
	return records, nil
}

// Epochs returns the greatest epochs of the host's shards that any pod has set; 0 for none.
func (b *Book) Epochs(host presence.HostName) (epochs [EpochShards]uint64) {
	for i := range epochs {
		v, _ := b.valueOf(host, shardName(uint8(i)), KindEpoch)
		epochs[i] = v.value
	}
	return epochs
}

// EpochHosts calls visit with each host that has an epoch, without a lock.
func (b *Book) EpochHosts(visit func(host presence.HostName)) {
	b.countMu.Lock()
	hosts := slices.Collect(maps.Keys(b.values[KindEpoch].hosts))
	b.countMu.Unlock()
	for _, host := range hosts {
		visit(host)
	}
}

// OnEpoch sets the function that is called without a lock when an epoch was raised on another pod,
// or by reading the file, but not by SetEpoch. tie is set if another pod has set the known epoch,
// too. It must be called before the first use of the book.
func (b *Book) OnEpoch(changed func(host presence.HostName, shard uint8, epoch uint64, tie bool)) {
	b.onValue[KindEpoch] = func(r *applied) {
		if shard, ok := shardOf(r.User); ok {
			changed(r.Host, shard, r.Value, r.tie)
		}
	}
}

// shardName returns what stands for the user in the record of a shard.
func shardName(shard uint8) string { return "01234567"[shard : shard+1] }

func shardOf(name string) (shard uint8, ok bool) {
	if len(name) != 1 || name[0] < '0' || name[0] >= '0'+EpochShards {
		return 0, false
	}
	return name[0] - '0', true
}
