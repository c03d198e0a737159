package routes

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rollcall-gateway/rollcall/internal/hostpattern"
)

// common returns the pattern of the hosts that a claim and a less specific one share.
func common(pattern, less string) string {
	if less == "" {
		return pattern
	}
	return hostpattern.Intersect(pattern, less)
}

// standsBefore returns the error for a door that a request reaches before the more specific door,
// which owns the hosts.
func standsBefore(less, owner *Door, hosts string) error {
	return fmt.Errorf("%s stands before %s, which is more specific and so owns %s: write the one for %s first",
		less, owner, hosts, hosts)
}

// conflict returns the error for two equally specific doors of different sites that share a host.
func conflict(d *Door, c *claim, pattern string) error {
	other := c.doors[0]
	hosts := hostpattern.Every.String()
	if pattern != "" {
		hosts = hostpattern.Intersect(pattern, c.pattern)
	}
	remedies := []string{"one block with both addresses (" + bothAddresses(other, d, common(c.pattern, pattern)) + ")", "one snippet that both import"}
	if d.Way.Server == other.Way.Server {
		remedies = []string{"one rollcall for both, or a host matcher for each (other matchers do not tell sites apart)"}
	} else {
		remedies = append(remedies, "api_from instead of an internal copy with other keys")
	}
	if hosts == "localhost" || strings.HasPrefix(hosts, "127.") || hosts == "::1" {
		remedies = append(remedies, fmt.Sprintf("a.localhost%s and b.localhost%s instead of %s twice", other.Way.port(), d.Way.port(), hosts))
	}
	return fmt.Errorf("%s and %s are both for %s and differ in %s, but a host has one site: write %s",
		other, d, hosts, strings.Join(differing(other.Rollcall, d.Rollcall), ", "), strings.Join(remedies, ", or "))
}

// bothAddresses returns the first line of a block that serves hosts at the doors of two listeners.
func bothAddresses(owner, other *Door, hosts string) string {
	addresses := []string{owner.Way.address(hosts)}
	if second := other.Way.address(hosts); second != addresses[0] {
		addresses = append(addresses, second)
	}
	return strings.Join(addresses, ", ") + " {"
}

// address returns the address of a site in a Caddyfile.
func (w *Way) address(hosts string) string {
	scheme, port, standard := "", w.port(), ":443"
	if w.Server != nil && !w.Server.HasTLS {
		scheme, standard = "http://", ":80"
	}
	if port == standard && hosts != "" {
		port = ""
	}
	return scheme + hosts + port
}

// port returns the port of the server's first address with a colon before it, "" if it has none.
func (w *Way) port() string {
	if w.Server == nil || len(w.Server.Listen) == 0 {
		return ""
	}
	listen := w.Server.Listen[0]
	if i := strings.LastIndexByte(listen, ':'); i >= 0 && !strings.Contains(listen, "/") {
		return listen[i:]
	}
	return ""
}

// differing returns the names of the options that differ between two handlers, never their values.
func differing(a, b *Rollcall) []string { return differingKeys("", a.Options(), b.Options()) }

func differingKeys(prefix string, a, b map[string]any) []string {
	keys := make(map[string]bool)
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	var names []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		inA, ok := a[key].(map[string]any)
		inB, both := b[key].(map[string]any)
		switch {
		case reflect.DeepEqual(a[key], b[key]):
		case ok && both && prefix == "":
			names = append(names, differingKeys(key+".", inA, inB)...)
		default:
			names = append(names, prefix+key)
		}
	}
	return names
}
