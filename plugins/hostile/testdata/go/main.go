// Command hostile is a plugin in plain Go, without the SDK, that does what the name of a channel says.
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o hostile.wasm .
package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"
)

var buffer = make([]byte, 64<<10)

//go:wasmexport rollcall_abi_v1
func abi() {}

//go:wasmexport rollcall_buffer
func room(size uint32) uint32 {
	if int(size) > len(buffer) {
		return 0
	}
	return uint32(uintptr(unsafe.Pointer(&buffer[0])))
}

// kept keeps memory from the collector.
var kept [][]byte

//go:wasmexport rollcall_classify
func classify(_, size uint32) int64 {
	request := string(buffer[:size])
	const header = 16
	host := int(request[4]) | int(request[5])<<8
	switch channel := request[header+host:]; channel {
	case "panic":
		panic("no")
	case "nil":
		var p *int
		*p = 1
	case "index":
		_ = buffer[len(buffer)+len(channel)]
	case "exit":
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Hour)
	case "deadlock":
		select {}
	case "lock":
		var m sync.Mutex
		m.Lock()
		m.Lock()
	case "spin":
		for {
		}
	case "goroutine":
		go func() {
			for {
			}
		}()
		time.Sleep(time.Millisecond)
	case "goroutines":
		for {
			go time.Sleep(time.Hour)
		}
	case "recursion":
		return int64(deep(1 << 40))
	case "memory":
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "one large allocation":
		kept = append(kept, make([]byte, 1<<30))
	case "garbage":
		for i := 0; ; i++ {
			kept = [][]byte{make([]byte, i%100_000)}
		}
	case "map":
		m := map[string]string{}
		for i := 0; ; i++ {
			m[fmt.Sprint(i)] = strings.Repeat("x", i%1000)
		}
	case "print":
		for range 300 {
			fmt.Println(strings.Repeat("flood ", 1000))
			println("flood")
		}
	case "files":
		if _, err := os.ReadFile("/etc/passwd"); err == nil {
			panic("there is a file")
		}
		if _, err := os.ReadDir("/"); err == nil {
			panic("there is a folder")
		}
		if len(os.Environ()) > 0 || len(os.Args) > 1 {
			panic("there is an environment")
		}
	}
	return 2
}

func deep(n int) int {
	if n == 0 {
		return 0
	}
	return deep(n-1) + 1
}

func main() {}
