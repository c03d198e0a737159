package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/rollcall-gateway/rollcall/plugins/internal/memory"
	"github.com/rollcall-gateway/rollcall/plugins/internal/wasm"
)

const (
	// initTimeout ends the making of an instance. Normally, its budget ends it long before.
	initTimeout = 2 * time.Second
	// inputFirst is the size of a new instance's input buffer, in bytes.
	inputFirst = 4 << 10
)

// instance is one instance of a program. Only the owner of its slot uses it.
type instance struct {
	pool    *pool
	module  api.Module
	linear  *memory.Linear
	hooks   [hookCount]api.Function
	buffer  api.Function
	context *callContext
	stack   [5]uint64
	hook    Hook // the hook that runs; HookNone outside of one

	// slice and steps are the globals of the meter. granted is their sum before a call, at least
	// the budget; armed is the value of steps then.
	slice, steps           api.MutableGlobal
	budget, granted, armed int64

	// input is the guest's buffer for inputs; inputPtr is its address.
	input    []byte
	inputPtr uint32

	log       guestLog
	request   []byte // body of the request, during members and shape; nil for HookMembersLive
	monotonic uint64 // the guest's clock, in nanoseconds

	// made is when the instance was made, opened the slot's number of calls when it was put there.
	// After examineAt more calls, it is examined. fresh is its memory when it was new, in bytes.
	made      time.Time
	opened    uint64
	examineAt uint64
	fresh     int64
}

// make makes an instance, with the help of a slot that the caller owns. makeRoom may be nil, see
// memory.Spec.
func (p *pool) make(ctx context.Context, s *slot, makeRoom func(func() bool) bool) (in *instance, lines []guestLine, f *fault) {
	in = &instance{pool: p, made: time.Now(), hook: HookNone}
	in.context = &callContext{context.Background(), in}
	if f := in.start(ctx, s, makeRoom); f != nil {
		if said := in.log.lastLines(); said != "" {
			f.err = fmt.Errorf("%w; the guest said: %s", f.err, said)
		}
		lines = in.log.drain(in)
		s.steps.Store(nil)
		in.close()
		return nil, lines, f
	}
	in.arm(p.plugin.limits.ClassifyBudget)
	in.fresh, _ = in.linear.Measure()
	p.plugin.program.expected.Store(in.linear.Charged())
	return in, in.log.drain(in), nil
}

// start instantiates the module, which runs none of its code. Then it runs what the module needs
// before the first hook, until ctx ends.
func (in *instance) start(ctx context.Context, s *slot, makeRoom func(func() bool) bool) *fault {
	core := in.pool.plugin
	var err error
	in.linear, err = memory.New(core.engine.memory, memory.Spec{
		Least: core.program.info.MemoryMin, Most: core.limits.Memory, Image: core.program.image,
		Expected: core.program.expected.Load(), MakeRoom: makeRoom,
	})
	if err != nil {
		return &fault{ReasonMemory, err}
	}
	in.module, err = core.program.instantiate(experimental.WithMemoryAllocator(in.context, in.linear))
	if err != nil {
		return &fault{ReasonInit, err}
	}
	in.slice, in.steps = in.module.ExportedGlobal(wasm.SliceGlobal).(api.MutableGlobal),
		in.module.ExportedGlobal(wasm.StepsGlobal).(api.MutableGlobal)
	for h, name := range hookExports {
		in.hooks[h] = in.module.ExportedFunction(name)
	}
	in.buffer = in.module.ExportedFunction(exportBuffer)
	in.arm(core.limits.InitBudget)
	s.steps.Store(&in.steps)

	s.making.Store(&ctx)
	defer s.making.Store(nil)
	s.startCall(classInit)
	in.pool.watch()
	f := in.initialize()
	ended := s.endCall()
	if f == nil {
		in.pool.counters.initSteps.Add(uint64(in.granted - in.stepsLeft()))
		return nil
	}
	if err := ctx.Err(); err != nil && ended {
		f.err = fmt.Errorf("ended: %w", err)
	} else {
		in.explain(f.err, HookNone, ended)
	}
	if f.reason == ReasonTrap {
		f.reason = ReasonInit
	}
	return f
}

// initialize makes the calls that a guest needs before the first hook. They share one budget.
func (in *instance) initialize() *fault {
	for _, function := range []struct{ export, name string }{
		{wasm.StartFunction, "start function"}, {exportInitialize, exportInitialize},
	} {
		if f := in.module.ExportedFunction(function.export); f != nil {
			if err := in.callGuest(f); err != nil {
				return &fault{ReasonInit, newTrapError(function.name, err)}
			}
		}
	}
	if f := in.growInput(inputFirst); f != nil {
		return f
	}
	return in.configure()
}

func (in *instance) configure() *fault {
	configure := in.module.ExportedFunction(exportConfigure)
	if configure == nil {
		return nil
	}
	text, err := json.Marshal(struct {
		Host   string          `json:"host"`
		Plugin string          `json:"plugin"`
		Config json.RawMessage `json:"config"`
	}{in.pool.host, in.pool.plugin.name, in.pool.plugin.config})
	if err != nil {
		return &fault{ReasonConfigure, err}
	}
	if f := in.growInput(len(text)); f != nil {
		return f
	}
	in.stack[0], in.stack[1] = uint64(in.inputPtr), uint64(copy(in.input, text))
	if err := in.callGuest(configure); err != nil {
		return &fault{ReasonConfigure, newTrapError(exportConfigure, err)}
	}
	if code := int32(in.stack[0]); code != 0 {
		return faultf(ReasonConfigure, "%s refused the configuration with code %d", exportConfigure, code)
	}
	return nil
}

// growInput asks the guest for an input buffer of at least size bytes, unless it has one.
func (in *instance) growInput(size int) *fault {
	if size <= len(in.input) {
		return nil
	}
	in.input = nil
	// Round up, so that inputs that grow slowly do not ask each time.
	size = max(inputFirst, (size+inputFirst-1)&^(inputFirst-1))
	in.stack[0] = uint64(size)
	if err := in.callGuest(in.buffer); err != nil {
		return &fault{ReasonTrap, newTrapError(exportBuffer, err)}
	}
	ptr := uint32(in.stack[0])
	view, ok := in.view(ptr, uint32(size))
	switch {
	case ptr == 0:
		return faultf(ReasonMemory, "%s has no room for %d bytes", exportBuffer, size)
	case !ok:
		return faultf(ReasonBadResult, "%s(%d) returned %d, which is not in the memory of %d bytes",
			exportBuffer, size, ptr, in.linear.Size())
	case ptr%8 != 0:
		return faultf(ReasonBadResult, "%s(%d) returned %d, which is not a multiple of 8", exportBuffer, size, ptr)
	}
	in.input, in.inputPtr = view, ptr
	return nil
}

// callGuest calls a function with the parameters in the stack, and leaves its result in stack[0].
// The caller wraps its error with newTrapError.
func (in *instance) callGuest(f api.Function) error {
	return f.CallWithStack(in.context, in.stack[:])
}

// callHook is callGuest for a hook.
func (in *instance) callHook(h Hook) error {
	in.hook = h
	err := in.callGuest(in.hooks[h])
	in.hook = HookNone
	return err
}

// spare is the number of steps that a call may get above its budget, so that the globals need not
// be set for each call.
const spare = wasm.Slice / 2

// arm gives the instance a budget of steps for the next call.
func (in *instance) arm(budget int64) {
	in.budget, in.granted = budget, budget
	slice := min(budget, wasm.Slice)
	if budget > wasm.Slice {
		in.granted += spare
	}
	in.slice.Set(uint64(slice))
	in.armed = in.granted - slice
	in.steps.Set(uint64(in.armed))
}

// stepsLeft is the number of steps left; zero or less when the budget is spent.
func (in *instance) stepsLeft() int64 { return int64(in.slice.Get()) + int64(in.steps.Get()) }

// rearm returns the steps of the finished call and arms the instance again, which is not necessary
// after a short call.
func (in *instance) rearm(budget int64) (used int64) {
	slice, steps := int64(in.slice.Get()), int64(in.steps.Get())
	used = max(0, in.granted-slice-steps)
	if steps == in.armed && slice > spare && budget == in.budget && budget > wasm.Slice {
		in.granted = slice + steps
	} else {
		in.arm(budget)
	}
	return used
}

// close frees the module and its memory. The instance is not in a call.
func (in *instance) close() {
	if in.module != nil {
		_ = in.module.Close(context.Background()) // nothing in it can fail to close
	}
	if in.linear != nil {
		in.linear.Free()
	}
}
