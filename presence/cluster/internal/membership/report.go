package membership

import (
	"cmp"
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
)

// PodReport describes one pod as this one sees it.
type PodReport struct {
	DataCenter  string  `json:"data_center"`
	Pod         string  `json:"pod"`
	Incarnation string  `json:"incarnation"`
	State       string  `json:"state"` // self, alive, suspect, draining, unreachable
	Started     string  `json:"started"`
	Heartbeat   float64 `json:"heartbeat_age_seconds"`
	RoundTrip   float64 `json:"round_trip_ms,omitempty"` // round trip of a ping for this report; 0 without a reply
	Connections uint64  `json:"connections"`
	Hosts       uint64  `json:"hosts"`
	Conflict    bool    `json:"conflict,omitempty"` // another process has the same name
}

// peerReport is a pod with its report.
type peerReport struct {
	link.Peer
	Report PodReport
}

// Report returns all pods, this one first.
func (m *Members) Report() []peerReport {
	connections, hosts := m.load()
	now := time.Now()
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]peerReport, 1, 1+len(m.pods)+len(m.lost))
	all[0] = m.describe(m.self, "self")
	all[0].Report.Connections, all[0].Report.Hosts, all[0].Report.Conflict = connections, hosts, m.selfConflict
	for p, pod := range m.pods {
		state := "alive"
		switch {
		case pod.suspect:
			state = "suspect"
		case pod.draining:
			state = "draining"
		}
		d := m.describe(p, state)
		d.Report.Heartbeat = now.Sub(pod.heard).Seconds()
		d.Report.Connections, d.Report.Hosts, d.Report.Conflict = pod.connections, pod.hosts, pod.conflict
		all = append(all, d)
	}
	for _, lost := range m.lost {
		d := m.describe(lost.Peer, "unreachable")
		d.Report.Heartbeat = now.Sub(lost.heard).Seconds()
		all = append(all, d)
	}
	slices.SortFunc(all[1:], func(a, b peerReport) int {
		return cmp.Or(cmp.Compare(a.DC, b.DC), cmp.Compare(a.Pod, b.Pod), link.CompareIncarnations(a.Incarnation, b.Incarnation))
	})
	return all
}

// CrashedNames returns the names of the pods that count as crashed, as DC/POD, sorted. They still count
// as pods of their data centers.
func (m *Members) CrashedNames() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	crashed := m.crashed()
	names := make([]string, 0, len(crashed))
	for p := range crashed {
		names = append(names, p.Name())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (m *Members) describe(p link.Peer, state string) peerReport {
	return peerReport{p, PodReport{
		DataCenter:  p.DC,
		Pod:         p.Pod,
		Incarnation: link.IncarnationText(p.Incarnation),
		State:       state,
		Started:     time.UnixMilli(p.Incarnation.Started).UTC().Format(time.RFC3339),
	}}
}
