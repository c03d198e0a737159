package pluginhost

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Calls has the calls of one hook of a plugin for one host, since the start of the process. Several
// plugins can have one name.
type Calls struct {
	Plugin  string `json:"plugin"`
	Host    string `json:"host"` // the host, _shared or _other, as in the metrics
	Hook    string `json:"hook"`
	OK      uint64 `json:"ok"`
	Refused uint64 `json:"refused"` // calls, among OK, that refused what they were asked about
	Failed  uint64 `json:"failed"`
	Steps   uint64 `json:"steps"` // of all calls of OK
}

// Calls returns the calls of all plugins, sorted by plugin, host and hook. Hooks without a call are
// left out.
func (ph *Host) Calls() []Calls {
	ph.mu.Lock()
	counters := maps.Clone(ph.counters)
	ph.mu.Unlock()
	list := []Calls{}
	for labels, c := range counters {
		now := c.Read()
		for hook, ok := range now.OK {
			calls := Calls{
				Plugin: labels.plugin, Host: labels.host, Hook: plugins.Hook(hook).String(),
				OK: ok, Refused: min(ok, now.Refused[hook]), Steps: now.StepsSum[hook],
			}
			for _, n := range now.Failed[hook] {
				calls.Failed += n
			}
			if calls.OK+calls.Failed > 0 {
				list = append(list, calls)
			}
		}
	}
	slices.SortFunc(list, func(a, b Calls) int {
		return cmp.Or(cmp.Compare(a.Plugin, b.Plugin), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Hook, b.Hook))
	})
	return list
}
