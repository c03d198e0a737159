package classify

import (
	"unsafe"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

const (
	wordSize  = 8                          // bytes
	header    = 2                          // words of a request
	words     = 8                          // words of texts that a short request has at most
	chunkSize = 16 << 10                   // bytes
	lastStart = chunkSize - words*wordSize // of texts in a chunk
	version   = 1                          // of a request
)

// chunk holds the texts of short requests. None of them is written again, so that a plugin may keep it; it then keeps
// the whole chunk from the collector.
type chunk [chunkSize / wordSize]uint64

var (
	// current is where the next texts go, from the byte used on, which is a multiple of a word. There is no chunk at first.
	current *chunk
	used    uint64 = chunkSize
	short   rollcall.Request
)

// texts is the beginning of a [rollcall.Request]. What unsafe.String would check is known here.
type texts struct {
	host, channel struct {
		data unsafe.Pointer
		size uintptr
	}
}

// export answers the request of n bytes at p, which is the buffer of the plugin: more than a short request can be read
// there, whatever n is.
//
// In WebAssembly Go pays for each call, loop turn and copy as much as for a dozen plain steps. So a short request, as
// nearly all are, costs no call but the handler's, one condition, and a copy of as many words as there might be. What
// is copied too much is overwritten by the next texts.
//
//go:wasmexport rollcall_classify
func export(p unsafe.Pointer, n uint32) int64 {
	head := (*[header]uint64)(p)
	lengths := head[0]
	host, channel := lengths>>32&0xffff, lengths>>48
	size := uint64(n) - header*wordSize // of the texts; huge when there is no whole header
	at := used
	// Each part is 0 when all is well: version and flags, what only authorize has, and the sum; then the sign of what must
	// not be negative, the words that a short request has left, and the room in the chunk.
	wrong := lengths&0xffff_00ff ^ version | head[1] | (size - host - channel) |
		((words*wordSize-size)|(lastStart-at))>>63
	if wrong == 0 {
		from := (*[words]uint64)(unsafe.Add(p, header*wordSize))
		start := unsafe.Add(unsafe.Pointer(current), at)
		to := (*[words]uint64)(start)
		to[0], to[1], to[2], to[3] = from[0], from[1], from[2], from[3]
		to[4], to[5], to[6], to[7] = from[4], from[5], from[6], from[7]
		used = (at + size + wordSize - 1) &^ (wordSize - 1)
		t := (*texts)(unsafe.Pointer(&short))
		t.host.data, t.host.size = start, uintptr(host)
		t.channel.data, t.channel.size = unsafe.Add(start, host), uintptr(channel)
		short.Site = rollcall.Decision(lengths >> 8 & 0xff)
		return int64(handler(&short))
	}
	return exportAny(p, n)
}

// exportAny answers any request, and makes room for short ones.
func exportAny(p unsafe.Pointer, n uint32) int64 {
	decision, err := call(unsafe.Slice((*byte)(p), n))
	if err != nil {
		rollcall.Log(rollcall.Error, err.Error())
		return -1
	}
	if used > lastStart {
		current, used = new(chunk), 0
	}
	return int64(decision)
}
