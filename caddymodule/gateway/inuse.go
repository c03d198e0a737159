package gateway

import "go.uber.org/zap"

// logInUse logs what the configuration in effect has: one line at the start and after each reload.
func (h *Hub) logInUse(now *Configuration) {
	hosts := 0
	for range now.Names() {
		hosts++
	}
	plugins := 0
	for _, set := range now.pluginSets() {
		plugins += len(set.Chain().Plugins())
	}
	now.Logger.Info("serving", zap.Int("sites", len(now.Sites)), zap.Int("hosts", hosts), zap.Int("plugins", plugins),
		zap.String("data_center", now.DataCenter), zap.String("pod", now.Pod), zap.String("cluster", h.clusterState()))
}

// clusterState returns the state of the cluster in a word.
func (h *Hub) clusterState() string {
	switch now := h.cluster.Load(); {
	case now == nil:
		return "none"
	case now.pods == nil:
		return "not joined"
	case now.pods.Ready():
		return "ready"
	}
	return "joining"
}
