package hostile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// failures returns all ways to fail in a hook that this package has: endless calls, sudden ends,
// and results that violate the contract.
func failures(h plugins.Hook) map[string]behaviour {
	all := make(map[string]behaviour)
	for _, b := range slices.Concat(endless, sudden) {
		all[b.name] = b
	}
	for name, result := range badSlices {
		all["result: "+name] = behaviour{do: returns(result)}
	}
	if h == plugins.HookMembers {
		for name, batch := range badBatches {
			all["batch: "+name] = behaviour{do: returns(slice(dataAddress, uint32(len(batch)))), fields: data(batch)}
		}
		// The guest masks the address in the memory that the host wrote to, and then fails.
		all["mask, then trap"] = behaviour{do: `(drop (call $mask (local.get $ptr) (local.get $len))) (unreachable)`}
		all["mask, then another result"] = behaviour{do: `(drop (call $mask (local.get $ptr) (local.get $len)))` + returns(^uint64(0))}
	} else {
		for name, document := range badDocuments {
			all["document: "+name] = behaviour{do: returns(slice(dataAddress, uint32(len(document)))), fields: data([]byte(document))}
		}
	}
	return all
}

// TestNoAddressGetsOutHoweverAPluginFails combines a plugin that hides addresses with one that
// fails in each of these ways, in both orders and under both policies. It searches for an address
// in all output.
func TestNoAddressGetsOutHoweverAPluginFails(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	mask := load(t, e, plugins.Spec{
		Path: guest{members: nothing}.file(t), Name: "mask",
		Limits: plugins.Limits{MembersBudget: 100_000, ShapeTimeout: patience},
	})
	for name, b := range failures(plugins.HookMembers) {
		t.Run(name, func(t *testing.T) {
			path := guest{fields: b.fields, members: b.do}.file(t)
			for _, policy := range []plugins.Policy{plugins.Deny, plugins.Pass} {
				p := load(t, e, plugins.Spec{Path: path, Name: "fails", OnFailure: policy, Limits: stepLimits})
				// The first 300 users are good: they fill a batch, and the failure is in the next.
				chains := map[string]*plugins.Chain{
					"mask, fails": plugins.NewChain(mask.Plugin, p.Plugin),
					"fails, mask": plugins.NewChain(p.Plugin, mask.Plugin),
				}
				if policy == plugins.Deny {
					chains["fails"] = p.chain
				}
				for order, chain := range chains {
					for _, users := range [][]plugins.User{crowd(1), crowd(300)} {
						objects, err := members(t.Context(), chain, host, users...)
						what := fmt.Sprintf("%s under %s, %d users", order, policy, len(users))
						for _, o := range objects {
							if strings.Contains(o, domain) {
								t.Fatalf("%s: %s gets out", what, o)
							}
						}
						failed := p.counters.of(host).Read().OK[plugins.HookMembers] == 0 || err != nil
						switch {
						case policy == plugins.Pass && err != nil:
							t.Errorf("%s: %v", what, err)
						case policy == plugins.Deny && err == nil && len(objects) != len(users):
							t.Errorf("%s: %d objects without an error (failed: %v)", what, len(objects), failed)
						case policy == plugins.Deny && err != nil:
							// After enough failures the breaker is open for a second; nothing may
							// get out then either.
							if len(users) == 1 && len(objects) > 0 {
								t.Errorf("%s: %d objects and %v", what, len(objects), err)
							}
						}
					}
				}
				p.Release()
			}
		})
	}
}

// crowd returns n users, the last with an address that makes a guest fail.
func crowd(n int) []plugins.User {
	users := make([]plugins.User, n)
	for i := range users {
		id := fmt.Sprint("u", i)
		users[i] = plugins.User{ID: id, Email: id + "@" + domain}
	}
	users[n-1].Email += "!"
	return users
}

// TestNoDocumentGetsOutUnshapedHoweverAPluginFails does the same with the hook shape, where a
// plugin fails on a whole document of another.
func TestNoDocumentGetsOutUnshapedHoweverAPluginFails(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	hide := load(t, e, plugins.Spec{
		Path: guest{shape: nothing}.file(t), Name: "hide", Limits: plugins.Limits{ShapeTimeout: patience},
	})
	for name, b := range failures(plugins.HookShape) {
		t.Run(name, func(t *testing.T) {
			path := guest{fields: b.fields, shape: b.do}.file(t)
			for _, policy := range []plugins.Policy{plugins.Deny, plugins.Pass} {
				p := load(t, e, plugins.Spec{Path: path, Name: "fails", OnFailure: policy, Limits: stepLimits})
				chains := []*plugins.Chain{plugins.NewChain(hide.Plugin, p.Plugin), plugins.NewChain(p.Plugin, hide.Plugin)}
				if policy == plugins.Deny {
					chains = append(chains, p.chain)
				}
				for i, chain := range chains {
					got := ask(t, chain, plugins.HookShape, host, true)
					if strings.Contains(got.text, domain) {
						t.Errorf("chain %d under %s: %s gets out", i, policy, got.text)
					}
					if got.err != nil && got.text != "" {
						t.Errorf("chain %d under %s: %q with the error %v", i, policy, got.text, got.err)
					}
					if policy == plugins.Pass && (got.err != nil || got.text != touched[plugins.HookShape]) {
						t.Errorf("chain %d under pass: got %q and %v", i, got.text, got.err)
					}
				}
				p.Release()
			}
		})
	}
}

// TestPluginsThatAreNotThereLetNothingOut calls hooks under deny while a plugin cannot be called at
// all.
func TestPluginsThatAreNotThereLetNothingOut(t *testing.T) {
	e := newEngine(t, plugins.EngineConfig{})
	for name, g := range map[string]guest{
		"_initialize fails": {initialize: `(unreachable)`, members: nothing, shape: nothing},
		"configure refuses": {configure: `(return (i32.const 1))`, members: nothing, shape: nothing},
		"no buffer":         {buffer: `(return (i32.const 0))`, members: nothing, shape: nothing},
		"always a trap":     {members: nothing, shape: nothing, buffer: `(unreachable)`},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, plugins.Spec{Path: g.file(t), Limits: stepLimits})
			// More calls than it takes to open the breaker.
			for range 50 {
				for _, h := range []plugins.Hook{plugins.HookMembers, plugins.HookShape} {
					got := ask(t, p.chain, h, host, false)
					if got.err == nil || got.text != "" {
						t.Fatalf("%s: got %q and %v, want an error alone", h, got.text, got.err)
					}
				}
			}
		})
	}
}
