package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// Floors: the least work that a server can do. They exchange frames of RFC 6455, but without
// handshakes, channels and checks.
const (
	floorGoroutine = "floor-goroutine" // idle: a goroutine reads each connection
	floorParked    = "floor-parked"    // idle: one epoll for all
	floorEach      = "floor-each"      // fan-out: one write per message and connection
	floorJoined    = "floor-joined"    // fan-out: pending messages in one write per connection
)

// welcome is the first message of a floor: from then on, the connection receives messages.
const welcome = "welcome"

func floorPeer(name, title string) *peer {
	return &peer{
		name: name, title: title, start: startSelf(name, ""),
		greet:   []load.Step{{Await: welcome}},
		publish: func(message string) string { return message },
	}
}

// startSelf starts this program as a server, beside others on the Redis at an address if that is
// not "".
func startSelf(name, redis string) func(ctx context.Context, b *bench) (*server.Process, error) {
	return func(ctx context.Context, _ *bench) (*server.Process, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return server.Start(ctx, self, "-serve", name, "-address", redis)
	}
}

// serve runs the process that startSelf started.
func serve(name, redis string) error {
	if err := load.RaiseFileLimit(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { // ends with the process, like the next one
		s := &http.Server{Handler: http.HandlerFunc(collectGarbage), ReadHeaderTimeout: time.Second}
		failed <- s.Serve(control)
	}()
	go func() {
		switch name {
		case floorGoroutine:
			failed <- serveOnGoroutines(l)
		case floorParked, floorEach, floorJoined:
			failed <- serveParked(l, name)
		case centrifugeName:
			failed <- serveCentrifuge(l, redis)
		default:
			failed <- fmt.Errorf("no server is called %q", name)
		}
	}()
	go func() { // ends this process with its parent
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	fmt.Println(l.Addr(), control.Addr())
	return <-failed
}

func collectGarbage(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() }

func serveOnGoroutines(l net.Listener) error {
	hello := frameOf(welcome)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { // ends with the connection
			defer c.Close()
			if _, err := c.Write(hello); err != nil {
				return
			}
			b := make([]byte, 512)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
		}()
	}
}

// frameOf returns a text frame of a server.
func frameOf(payload string) []byte {
	if size := len(payload); size > 125 {
		return append([]byte{0x81, 126, byte(size >> 8), byte(size)}, payload...)
	}
	return append([]byte{0x81, byte(len(payload))}, payload...)
}
