package pluginhost

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// Metrics that are read at a scrape.
var (
	pluginCallsDesc     = desc("caddy_rollcall_plugin_calls_total", "Calls of plugins, by host, hook and result: ok, refused or why it failed.", "host", "hook", "result")
	pluginStepsDesc     = desc("caddy_rollcall_plugin_steps", "Steps of calls that succeeded, by hook.", "hook")
	pluginInstancesDesc = desc("caddy_rollcall_plugin_instances", "Instances now, idle or busy.", "state")
	pluginMemoryDesc    = desc("caddy_rollcall_plugin_memory_bytes", "Memory of all instances now, as plugin_memory counts it.")
	pluginLinearDesc    = desc("caddy_rollcall_plugin_linear_memory_bytes", "Size of the memories of all instances now, whether used or not.")
	pluginStoreDesc     = desc("caddy_rollcall_plugin_store_bytes", "What is stored now for all hosts, as kv counts it.")
	pluginEntriesDesc   = desc("caddy_rollcall_plugin_store_entries", "Keys that are stored now for all hosts.")
	pluginCounterDesc   = desc("caddy_rollcall_plugin_counter_total", "What the plugin counts itself, by the name that it gives.", "name")
	pluginImageDesc     = desc("caddy_rollcall_plugin_image_bytes", "Memory that the instances of a file share.")
	pluginRestartsDesc  = desc("caddy_rollcall_plugin_restarts_total", "Instances that were discarded, by reason.", "reason")
	pluginBreakerDesc   = desc("caddy_rollcall_plugin_breaker_open", "Hosts for which the plugin is not called now, since it failed too often.")
	pluginLogDesc       = desc("caddy_rollcall_plugin_log_dropped_total", "Lines of plugins that were not logged, since there were too many.")
	pluginLoadsDesc     = desc("caddy_rollcall_plugin_loads_total", "Files loaded, by result: ok or error.", "result")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"plugin"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (ph *Host) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		pluginCallsDesc, pluginStepsDesc, pluginInstancesDesc, pluginMemoryDesc, pluginLinearDesc, pluginImageDesc,
		pluginStoreDesc, pluginEntriesDesc, pluginCounterDesc, pluginRestartsDesc, pluginBreakerDesc, pluginLogDesc,
		pluginLoadsDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (ph *Host) Collect(ch chan<- prometheus.Metric) {
	ph.mu.Lock()
	counters, counts, loads := maps.Clone(ph.counters), maps.Clone(ph.counts), maps.Clone(ph.loads)
	ph.mu.Unlock()
	for labels, n := range loads {
		ch <- counter(pluginLoadsDesc, n, labels.plugin, labels.result)
	}
	for plugin, c := range counts {
		for name, n := range c.Read() {
			ch <- counter(pluginCounterDesc, n, plugin, name)
		}
	}
	sums := make(map[string]*plugins.CountersSnapshot)
	for labels, c := range counters {
		now := c.Read()
		sum := sums[labels.plugin]
		if sum == nil {
			sum = new(plugins.CountersSnapshot)
			sums[labels.plugin] = sum
		}
		collectCalls(ch, labels, &now, sum)
	}
	for plugin, sum := range sums {
		collectSums(ch, plugin, sum)
	}
	ph.collectState(ch)
}

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// collectCalls reports the calls for one host, and adds the other numbers to the sum of the plugin.
func collectCalls(ch chan<- prometheus.Metric, labels pluginLabels, now, sum *plugins.CountersSnapshot) {
	for hook, ok := range now.OK {
		name := plugins.Hook(hook).String()
		if refused := min(ok, now.Refused[hook]); refused > 0 {
			ch <- counter(pluginCallsDesc, refused, labels.plugin, labels.host, name, "refused")
			ok -= refused
		}
		if ok > 0 {
			ch <- counter(pluginCallsDesc, ok, labels.plugin, labels.host, name, "ok")
		}
		for i, n := range now.Failed[hook] {
			if n > 0 {
				ch <- counter(pluginCallsDesc, n, labels.plugin, labels.host, name, string(plugins.Reasons[i]))
			}
		}
		sum.OK[hook] += now.OK[hook]
		sum.StepsSum[hook] += now.StepsSum[hook]
		for i, n := range now.Steps[hook] {
			sum.Steps[hook][i] += n
		}
	}
	for i, n := range now.Restarts {
		sum.Restarts[i] += n
	}
	sum.LogDropped += now.LogDropped
}

// collectSums reports the numbers of a plugin over all hosts.
func collectSums(ch chan<- prometheus.Metric, plugin string, sum *plugins.CountersSnapshot) {
	for hook := range sum.Steps {
		buckets, n := make(map[float64]uint64), uint64(0)
		for i, bound := range plugins.StepBuckets {
			n += sum.Steps[hook][i]
			buckets[float64(bound)] = n
		}
		n += sum.Steps[hook][len(plugins.StepBuckets)]
		if n > 0 {
			ch <- prometheus.MustNewConstHistogram(pluginStepsDesc, n, float64(sum.StepsSum[hook]), buckets,
				plugin, plugins.Hook(hook).String())
		}
	}
	for i, n := range sum.Restarts {
		if n > 0 {
			ch <- counter(pluginRestartsDesc, n, plugin, string(plugins.Reasons[i]))
		}
	}
	ch <- counter(pluginLogDesc, sum.LogDropped, plugin)
}

// collectState reports instances, memory and breakers. Several plugins can have one name: on
// several sites, and while a configuration is replaced.
func (ph *Host) collectState(ch chan<- prometheus.Metric) {
	type state struct {
		idle, busy, open int
		memory, linear   int64
		stored           int64
		entries          int
		images           map[string]int64 // by the hash of the file, which several sites can load
	}
	states := make(map[string]state)
	for _, r := range ph.Reports() {
		s := states[r.Name]
		if s.images == nil {
			s.images = make(map[string]int64)
		}
		s.images[r.SHA256] = r.Image
		for _, h := range r.Hosts {
			s.idle += h.Idle
			s.busy += h.Busy
			s.memory += h.Memory
			s.linear += h.LinearMemory
			s.stored += h.StoreBytes
			s.entries += h.StoreEntries
			if h.Breaker != "closed" {
				s.open++
			}
		}
		states[r.Name] = s
	}
	for plugin, s := range states {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{plugin}, labels...)...)
		}
		gauge(pluginInstancesDesc, float64(s.idle), "idle")
		gauge(pluginInstancesDesc, float64(s.busy), "busy")
		gauge(pluginMemoryDesc, float64(s.memory))
		gauge(pluginLinearDesc, float64(s.linear))
		gauge(pluginStoreDesc, float64(s.stored))
		gauge(pluginEntriesDesc, float64(s.entries))
		image := int64(0)
		for _, n := range s.images {
			image += n
		}
		gauge(pluginImageDesc, float64(image))
		gauge(pluginBreakerDesc, float64(s.open))
	}
}
