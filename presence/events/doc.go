// Package events tells, once for all pods, which users and channels of a host come and go.
//
// The channels and users of a host are in [Shards] shards. One pod speaks for each shard, its
// owner. The [Speaker] of a pod speaks for the shards that it owns: it gathers the parts of all
// pods, and puts an [Event] into the [Sink] for each change of the whole.
//
// # Epochs
//
// Each time that a pod becomes the owner of a shard, it begins a greater epoch. An epoch names all
// that is there with [ChannelState] and [UserOnline], then [EpochComplete] follows, and from then
// on changes. A receiver drops events of an epoch that is lower than the greatest of the shard.
// With EpochComplete, it forgets what the epoch has not named. So it is right at rest, whatever has
// died.
//
// Epochs are kept in [Epochs], which all pods have. An owner that learns of another epoch there
// that is not lower than its own begins a new one.
package events
