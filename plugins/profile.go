package plugins

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Profile counts the steps of each function of a guest. It is for authors of plugins: calls of an
// engine with a profile take several times as long. The steps of a host function count for its
// caller.
type Profile struct {
	mu        sync.Mutex
	functions []*profiled
	root      *profileNode
	states    map[*instance]*profileState
}

// profiled is what a profile knows of a function.
type profiled struct {
	name  string
	named bool // the file has the name
	calls uint64
	own   int64
	total int64 // own and callees
}

// profileNode is a function as it was called by its parent.
type profileNode struct {
	function *profiled // nil for the root
	parent   *profileNode
	own      int64
	calls    map[*profiled]*profileNode
}

// callee returns the node of a function that n calls.
func (n *profileNode) callee(f *profiled) *profileNode {
	next := n.calls[f]
	if next == nil {
		next = &profileNode{function: f, parent: n, calls: make(map[*profiled]*profileNode)}
		n.calls[f] = next
	}
	return next
}

// maxProfileDepth bounds the nodes of a recursion: deeper calls count for the node at this depth.
const maxProfileDepth = 256

// NewProfile returns an empty profile.
func NewProfile() *Profile {
	p := new(Profile)
	p.Reset()
	return p
}

// Reset forgets all steps. No call may be running. A nil profile has none.
func (p *Profile) Reset() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.functions {
		f.calls, f.own, f.total = 0, 0, 0
	}
	p.root = &profileNode{calls: make(map[*profiled]*profileNode)}
	p.states = make(map[*instance]*profileState)
}

// FunctionSteps are the steps of one function.
type FunctionSteps struct {
	// Name is from the name section of the file, without which it is "function 12".
	Name string
	// Named is set if the file has the name.
	Named bool
	// Calls is the number of calls.
	Calls uint64
	// Own are the steps of the function alone; Total includes those of the functions that it
	// called.
	Own, Total int64
}

// Functions returns the functions that were called, those with the most steps of their own first.
func (p *Profile) Functions() []FunctionSteps {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]FunctionSteps, 0, len(p.functions))
	for _, f := range p.functions {
		if f.calls > 0 {
			list = append(list, FunctionSteps{f.name, f.named, f.calls, f.own, f.total})
		}
	}
	slices.SortFunc(list, func(a, b FunctionSteps) int {
		return cmp.Or(cmp.Compare(b.Own, a.Own), cmp.Compare(b.Total, a.Total), strings.Compare(a.Name, b.Name))
	})
	return list
}

// WriteFolded writes a line for each stack of functions that used steps: the functions, the
// outermost first, with semicolons between them, and the steps. This is the input of flamegraph.pl
// and of speedscope.app.
func (p *Profile) WriteFolded(w io.Writer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	p.root.fold("", &lines)
	slices.Sort(lines)
	for _, line := range lines {
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}

var foldedName = strings.NewReplacer(";", ":", " ", "_")

func (n *profileNode) fold(stack string, lines *[]string) {
	if n.function != nil {
		if stack != "" {
			stack += ";"
		}
		stack += foldedName.Replace(n.function.name)
		if n.own > 0 {
			*lines = append(*lines, fmt.Sprintf("%s %d\n", stack, n.own))
		}
	}
	for _, called := range n.calls {
		called.fold(stack, lines)
	}
}

// watch returns a context in which a module is compiled so that its functions tell the profile.
func (p *Profile) watch(ctx context.Context) context.Context {
	if p == nil {
		return ctx
	}
	return experimental.WithFunctionListenerFactory(ctx, experimental.FunctionListenerFactoryFunc(p.listen))
}

// listen names a function. The functions that Meter appends have no listener: their steps are those
// of the function that they charge.
func (p *Profile) listen(def api.FunctionDefinition) experimental.FunctionListener {
	name := def.Name()
	if strings.HasPrefix(name, "rollcall.") {
		return nil
	}
	f := &profiled{name: printable(name), named: name != ""}
	if !f.named {
		f.name = fmt.Sprintf("function %d", def.Index())
		if exported := def.ExportNames(); len(exported) > 0 {
			f.name = printable(exported[0])
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.functions = append(p.functions, f)
	return profileListener{p, f}
}

// profileState is what runs in one instance.
type profileState struct {
	stack  []*profiled
	node   *profileNode // of the innermost function that has one
	left   int64        // steps left at the last event
	active map[*profiled]running
}

// running is a function that has not returned.
type running struct {
	calls int   // more than one in a recursion
	since int64 // steps left when the outermost began
}

// at returns the state of the instance that calls, and charges the steps since the last event to
// the function that was running.
func (p *Profile) at(ctx context.Context) *profileState {
	in := ctx.(*callContext).instance
	s := p.states[in]
	if s == nil {
		s = &profileState{active: make(map[*profiled]running)}
		p.states[in] = s
	}
	left := in.stepsLeft()
	if n := len(s.stack); n > 0 {
		s.stack[n-1].own += s.left - left
		s.node.own += s.left - left
	}
	s.left = left
	return s
}

// profileListener tells a profile of the calls of one function.
type profileListener struct {
	profile  *Profile
	function *profiled
}

// Before implements [experimental.FunctionListener].
func (l profileListener) Before(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	p, f := l.profile, l.function
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(ctx)
	if len(s.stack) == 0 {
		s.node = p.root
	}
	s.stack = append(s.stack, f)
	f.calls++
	r := s.active[f]
	if r.calls++; r.calls == 1 {
		r.since = s.left
	}
	s.active[f] = r
	if len(s.stack) <= maxProfileDepth {
		s.node = s.node.callee(f)
	}
}

// After implements [experimental.FunctionListener].
func (l profileListener) After(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64) {
	p, f := l.profile, l.function
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(ctx)
	if len(s.stack) <= maxProfileDepth {
		s.node = s.node.parent
	}
	s.stack = s.stack[:len(s.stack)-1]
	r := s.active[f]
	if r.calls--; r.calls > 0 {
		s.active[f] = r
		return
	}
	delete(s.active, f)
	f.total += r.since - s.left
}

// Abort implements [experimental.FunctionListener]: a trap ends all functions of the call.
func (l profileListener) Abort(ctx context.Context, m api.Module, def api.FunctionDefinition, _ error) {
	l.After(ctx, m, def, nil)
}
