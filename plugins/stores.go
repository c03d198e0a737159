package plugins

import (
	"sync"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
)

// sweepEntries is the most expired entries that a sweep removes while calls wait.
const sweepEntries = 1000

// searchRate is the number of searches for memory per second, which are often in vain.
const searchRate = 10

// Stores holds what plugins store, by plugin and host. It outlives engines. A store ends when no
// handle on a plugin of its name is left that serves its host. Stores is safe for concurrent use.
type Stores struct {
	searches *bucket // for expired entries of all stores, and for idle instances

	mu      sync.Mutex
	plugins map[string]*pluginStores // by name
}

// pluginStores are the stores of the plugins with one name. Without claims there are no stores.
type pluginStores struct {
	claims map[*claim]struct{}
	hosts  map[string]*store
}

// claim is a handle on a plugin that may store.
type claim struct {
	plugin string
	core   uint64                 // number of the core
	serves func(host string) bool // nil for every host
}

func (c *claim) on(host string) bool { return c.serves == nil || c.serves(host) }

// NewStores returns an empty Stores.
func NewStores() *Stores {
	return &Stores{searches: newBucket(searchRate, searchRate), plugins: make(map[string]*pluginStores)}
}

// add adds a claim. The caller removes it.
func (st *Stores) add(c *claim) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.plugins[c.plugin]
	if p == nil {
		p = &pluginStores{claims: make(map[*claim]struct{}), hosts: make(map[string]*store)}
		st.plugins[c.plugin] = p
	}
	p.claims[c] = struct{}{}
}

// remove removes a claim, and ends the stores that no other claim keeps. Removing a claim twice is
// harmless.
func (st *Stores) remove(c *claim) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.plugins[c.plugin]
	if p == nil {
		return
	}
	delete(p.claims, c)
	for host, s := range p.hosts {
		if !p.claimed(host) {
			s.end(false)
			delete(p.hosts, host)
		}
	}
	if len(p.claims) == 0 {
		delete(st.plugins, c.plugin)
	}
}

func (p *pluginStores) claimed(host string) bool {
	for c := range p.claims {
		if c.on(host) {
			return true
		}
	}
	return false
}

// open returns the store of a plugin and a host, charged to b. It returns nil if no handle claims
// it.
func (st *Stores) open(plugin, host string, b *memory.Budget) *store {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.plugins[plugin]
	if p == nil {
		return nil
	}
	s := p.hosts[host]
	if s == nil {
		if !p.claimed(host) {
			return nil
		}
		s = newStore(b)
		p.hosts[host] = s
	}
	s.moveTo(b)
	return s
}

// all returns all stores.
func (st *Stores) all() (list []*store) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, p := range st.plugins {
		for _, s := range p.hosts {
			list = append(list, s)
		}
	}
	return list
}

// sweep removes expired entries, and stores without entries. It returns the number of remaining
// stores.
func (st *Stores) sweep(now int64) (left int) {
	for _, s := range st.all() {
		for s.expire(now, sweepEntries) {
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, p := range st.plugins {
		for host, s := range p.hosts {
			if s.end(true) {
				delete(p.hosts, host)
			}
		}
		left += len(p.hosts)
	}
	return left
}

// expireAny removes expired entries of any store until enough reports true. It reports whether it
// did.
func (st *Stores) expireAny(now int64, enough func() bool) bool {
	for _, s := range st.all() {
		for more := true; more; {
			more = s.expire(now, storeKeepsUp)
			if enough() {
				return true
			}
		}
	}
	return false
}

// storeSize is the size of one store.
type storeSize struct {
	host    string
	entries int
	bytes   int64
}

// sizes returns the stores with entries that handles on the core keep.
func (st *Stores) sizes(c *core, now int64) (list []storeSize) {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := st.plugins[c.name]
	if p == nil {
		return nil
	}
	for host, s := range p.hosts {
		for claim := range p.claims {
			if claim.core != c.number || !claim.on(host) {
				continue
			}
			if n, bytes := s.size(now); n > 0 {
				list = append(list, storeSize{host, n, bytes})
			}
			break
		}
	}
	return list
}
