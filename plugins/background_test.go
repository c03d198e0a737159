package plugins

import "testing"

// slowToStart is a plugin whose configuration takes some 20 million steps, and which traps when it
// is called.
var slowToStart = guest(`
	(func (export "rollcall_configure") (param i32 i32) (result i32) (local $left i32)
		(local.set $left (i32.const 20000000))
		(loop $l (br_if $l (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
		(i32.const 0))
	(func (export "rollcall_classify") (param i32 i32) (result i64) unreachable)`)

func TestCloseWaitsForInstancesThatAreBeingMade(t *testing.T) {
	e, err := NewEngine(EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Load(t.Context(), Spec{Path: wat(t, slowToStart)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewChain(p).Classify("h", "room", Anonymous); err == nil {
		t.Fatal("a guest that traps has answered")
	}
	p.Release() // while the replacement of the failed instance is being made
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if used := e.memory.Used(); used != 0 {
		t.Errorf("an instance with %d bytes outlives Close", used)
	}
}
