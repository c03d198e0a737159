package history

import (
	"math"

	"github.com/anishathalye/porcupine"
)

// register is one value that operations write and read.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		o := input.(Operation)
		if o.writes() {
			return true, o.Value
		}
		return output.(string) == state.(string), state
	},
}

// checkLinearizable checks writes and reads at rest. A write without a return can take effect after
// all reads, which is the same as never.
func checkLinearizable(ops []Operation) error {
	var list []porcupine.Operation
	for i, o := range ops {
		if o.Kind == Read {
			continue
		}
		end := int64(o.Return)
		if o.Kind == Unfinished {
			end = math.MaxInt64
		}
		list = append(list, porcupine.Operation{ClientId: i, Input: o, Output: o.Value, Call: int64(o.Call), Return: end})
	}
	if !porcupine.CheckOperations(register, list) {
		return ErrNotLinearizable
	}
	return nil
}
