package plugins

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/tetratelabs/wazero/sys"
)

// wasiModule is the module that guests import WASI from.
//
// The functions are our own rather than wazero's. They serve no files, are bounded in time and
// memory whatever the guest passes, and write to the log.
const wasiModule = "wasi_snapshot_preview1"

// WASI error numbers.
const (
	wasiOK     = 0
	wasiBadFD  = 8
	wasiFault  = 21
	wasiInval  = 28
	wasiNoSys  = 52
	wasiNotSup = 58
	wasiPipe   = 70 // ESPIPE
)

const (
	wasiMaxRandom        = 64 << 10 // bytes per call
	wasiMaxSubscriptions = 64
	wasiMaxVectors       = 64
	wasiDevice           = 2 // file type of a character device
	wasiRightWrite       = 1 << 6
)

// refuse serves the functions for files and sockets, which do not exist here.
func refuse(_ *instance, stack []uint64) { stack[0] = wasiBadFD }

func accept(_ *instance, stack []uint64) { stack[0] = wasiOK }

var wasiFunctions = map[string]hostFunction{
	"args_get":                {"ii", "i", accept},
	"args_sizes_get":          {"ii", "i", wasiTwoZeros},
	"clock_res_get":           {"ii", "i", wasiClockResolution},
	"clock_time_get":          {"iIi", "i", wasiClockTime},
	"environ_get":             {"ii", "i", accept},
	"environ_sizes_get":       {"ii", "i", wasiTwoZeros},
	"fd_advise":               {"iIIi", "i", refuse},
	"fd_allocate":             {"iII", "i", refuse},
	"fd_close":                {"i", "i", wasiStandard(wasiOK)},
	"fd_datasync":             {"i", "i", refuse},
	"fd_fdstat_get":           {"ii", "i", wasiStat(24, 0)},
	"fd_fdstat_set_flags":     {"ii", "i", wasiStandard(wasiOK)},
	"fd_fdstat_set_rights":    {"iII", "i", refuse},
	"fd_filestat_get":         {"ii", "i", wasiStat(64, 16)},
	"fd_filestat_set_size":    {"iI", "i", refuse},
	"fd_filestat_set_times":   {"iIIi", "i", refuse},
	"fd_pread":                {"iiiIi", "i", refuse},
	"fd_prestat_dir_name":     {"iii", "i", refuse},
	"fd_prestat_get":          {"ii", "i", refuse},
	"fd_pwrite":               {"iiiIi", "i", refuse},
	"fd_read":                 {"iiii", "i", wasiRead},
	"fd_readdir":              {"iiiIi", "i", refuse},
	"fd_renumber":             {"ii", "i", refuse},
	"fd_seek":                 {"iIii", "i", wasiStandard(wasiPipe)},
	"fd_sync":                 {"i", "i", refuse},
	"fd_tell":                 {"ii", "i", wasiStandard(wasiPipe)},
	"fd_write":                {"iiii", "i", wasiWrite},
	"path_create_directory":   {"iii", "i", refuse},
	"path_filestat_get":       {"iiiii", "i", refuse},
	"path_filestat_set_times": {"iiiiIIi", "i", refuse},
	"path_link":               {"iiiiiii", "i", refuse},
	"path_open":               {"iiiiiIIii", "i", refuse},
	"path_readlink":           {"iiiiii", "i", refuse},
	"path_remove_directory":   {"iii", "i", refuse},
	"path_rename":             {"iiiiii", "i", refuse},
	"path_symlink":            {"iiiii", "i", refuse},
	"path_unlink_file":        {"iii", "i", refuse},
	"poll_oneoff":             {"iiii", "i", wasiPoll},
	"proc_exit":               {"i", "", wasiExit},
	"proc_raise":              {"i", "i", func(_ *instance, stack []uint64) { stack[0] = wasiNoSys }},
	"random_get":              {"ii", "i", wasiRandom},
	"sched_yield":             {"", "i", accept},
	"sock_accept":             {"iii", "i", refuse},
	"sock_recv":               {"iiiiii", "i", refuse},
	"sock_send":               {"iiiii", "i", refuse},
	"sock_shutdown":           {"ii", "i", refuse},
}

// view returns size bytes of the guest's memory. It returns false if they are not all inside.
func (in *instance) view(ptr, size uint32) ([]byte, bool) {
	m := in.linear.Bytes()
	if end := uint64(ptr) + uint64(size); end <= uint64(len(m)) {
		return m[ptr:end], true
	}
	return nil, false
}

func (in *instance) putU32(ptr, v uint32) bool {
	b, ok := in.view(ptr, 4)
	if ok {
		binary.LittleEndian.PutUint32(b, v)
	}
	return ok
}

func (in *instance) putU64(ptr uint32, v uint64) bool {
	b, ok := in.view(ptr, 8)
	if ok {
		binary.LittleEndian.PutUint64(b, v)
	}
	return ok
}

func errno(ok bool) uint64 {
	if ok {
		return wasiOK
	}
	return wasiFault
}

func standard(fd uint64) bool { return uint32(fd) <= 2 }

func wasiTwoZeros(in *instance, stack []uint64) {
	stack[0] = errno(in.putU32(uint32(stack[0]), 0) && in.putU32(uint32(stack[1]), 0))
}

// wasiStandard returns number for the standard descriptors, and refuses others.
func wasiStandard(number uint64) func(*instance, []uint64) {
	return func(_ *instance, stack []uint64) {
		if !standard(stack[0]) {
			stack[0] = wasiBadFD
			return
		}
		stack[0] = number
	}
}

// wasiStat describes a standard descriptor: all zero, except for the file type and, in fdstat, the
// right to write.
func wasiStat(size, typeOffset uint32) func(*instance, []uint64) {
	return func(in *instance, stack []uint64) {
		b, ok := in.view(uint32(stack[1]), size)
		switch {
		case !standard(stack[0]):
			stack[0] = wasiBadFD
		case !ok:
			stack[0] = wasiFault
		default:
			clear(b)
			b[typeOffset] = wasiDevice
			if typeOffset == 0 {
				binary.LittleEndian.PutUint64(b[8:], wasiRightWrite)
			}
			stack[0] = wasiOK
		}
	}
}

func wasiClockResolution(in *instance, stack []uint64) {
	if uint32(stack[0]) > 1 {
		stack[0] = wasiInval
		return
	}
	stack[0] = errno(in.putU64(uint32(stack[1]), uint64(time.Millisecond)))
}

// wasiClockTime returns the machine's date in milliseconds. The monotonic clock is not real: it
// advances by a millisecond with each reading. A guest that sleeps returns at once, and sees its
// time pass after some readings instead of looping forever. And it cannot time the host.
func wasiClockTime(in *instance, stack []uint64) {
	var now uint64
	switch uint32(stack[0]) {
	case 0:
		now = uint64(in.pool.plugin.engine.config.Now().UnixMilli()) * uint64(time.Millisecond)
	case 1:
		in.monotonic += uint64(time.Millisecond)
		now = in.monotonic
	default:
		stack[0] = wasiInval
		return
	}
	stack[0] = errno(in.putU64(uint32(stack[2]), now))
}

// wasiRead reports the end of standard input.
func wasiRead(in *instance, stack []uint64) {
	if uint32(stack[0]) != 0 {
		stack[0] = wasiBadFD
		return
	}
	stack[0] = errno(in.putU32(uint32(stack[3]), 0))
}

func wasiWrite(in *instance, stack []uint64) {
	fd, vectors, count, result := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3])
	if fd != 1 && fd != 2 {
		stack[0] = wasiBadFD
		return
	}
	var written uint32
	scan := logScan
	for i := range min(count, wasiMaxVectors) {
		v, ok := in.view(vectors+8*i, 8)
		if !ok {
			stack[0] = wasiFault
			return
		}
		b, ok := in.view(binary.LittleEndian.Uint32(v), binary.LittleEndian.Uint32(v[4:]))
		if !ok {
			stack[0] = wasiFault
			return
		}
		seen := b[:min(len(b), scan)]
		if scan -= len(seen); len(seen) < len(b) {
			in.pool.counters.logDropped.Add(1)
		}
		in.log.addOutput(in, fd, seen)
		written += uint32(len(b))
	}
	stack[0] = errno(in.putU32(result, written))
}

// wasiPoll reports every subscription at once: time passes when a guest reads its clock.
func wasiPoll(in *instance, stack []uint64) {
	subscriptions, events, count, result := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3])
	if count == 0 || count > wasiMaxSubscriptions {
		stack[0] = wasiInval
		return
	}
	for i := range count {
		s, ok := in.view(subscriptions+48*i, 48)
		e, writable := in.view(events+32*i, 32)
		if !ok || !writable {
			stack[0] = wasiFault
			return
		}
		user, tag := binary.LittleEndian.Uint64(s), s[8]
		clear(e)
		binary.LittleEndian.PutUint64(e, user)
		if e[10] = tag; tag != 0 {
			binary.LittleEndian.PutUint16(e[8:], wasiNotSup)
		}
	}
	stack[0] = errno(in.putU32(result, count))
}

func wasiExit(_ *instance, stack []uint64) { panic(sys.NewExitError(uint32(stack[0]))) }

func wasiRandom(in *instance, stack []uint64) {
	b, ok := in.view(uint32(stack[0]), uint32(stack[1]))
	switch {
	case !ok:
		stack[0] = wasiFault
	case len(b) > wasiMaxRandom:
		stack[0] = wasiInval
	default:
		_, _ = rand.Read(b) // it never fails
		stack[0] = wasiOK
	}
}
