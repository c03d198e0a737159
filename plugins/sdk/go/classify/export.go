package classify

import (
	"unsafe"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

const (
	wordSize  = 8                          // bytes
	header    = 2                          // words in a request header
	words     = 8                          // most words of texts in a short request
	chunkSize = 16 << 10                   // bytes
	lastStart = chunkSize - words*wordSize // last start of texts in a chunk
	version   = 1                          // request version
)

// chunk holds the texts of short requests. They are never overwritten, so a plugin may keep one;
// that keeps the whole chunk from the collector.
type chunk [chunkSize / wordSize]uint64

var (
	// current is the chunk for the next texts, nil at first; used is their offset, a multiple of a
	// word.
	current *chunk
	used    uint64 = chunkSize
	short   rollcall.Request
)

// texts is the start of a [rollcall.Request]. The checks of unsafe.String are not necessary here.
type texts struct {
	host, channel struct {
		data unsafe.Pointer
		size uintptr
	}
}

// export answers the request of n bytes at p, the plugin's buffer. Whatever n is, the buffer has
// room for more than a short request.
//
// In WebAssembly, Go pays as much for each call, loop turn and copy as for a dozen simple steps.
// Nearly all requests are short. A short request therefore costs the handler's call, one condition,
// and a copy of the largest possible number of words. The next texts overwrite the excess.
//
//go:wasmexport rollcall_classify
func export(p unsafe.Pointer, n uint32) int64 {
	head := (*[header]uint64)(p)
	lengths := head[0]
	host, channel := lengths>>32&0xffff, lengths>>48
	size := uint64(n) - header*wordSize // bytes of the texts; huge if the header is not complete
	at := used
	// Each part is 0 for a valid short request: version and flags; a field that only authorize has;
	// the sum; then the sign of numbers that must not be negative: words left in a short request,
	// and room in the chunk.
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
