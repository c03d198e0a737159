package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// target is a server to measure.
type target struct {
	start   func(ctx context.Context, dir string) (*server, error)
	connect func(addr string) (net.Conn, error)
}

// server is a target that runs.
type server struct {
	cmd  *exec.Cmd
	addr string
	gc   string // a GET that collects garbage
}

// rollcallTarget is Caddy with a configuration of its own, in a directory of its own.
func rollcallTarget(caddy string) target {
	return target{
		start: func(ctx context.Context, dir string) (*server, error) {
			admin, err := freeAddr()
			if err != nil {
				return nil, err
			}
			addr, err := freeAddr()
			if err != nil {
				return nil, err
			}
			config := fmt.Sprintf("{\n\tadmin %s\n\tpersist_config off\n}\n\nhttp://%s {\n\trollcall {\n\t\tapi_key off\n\t}\n}\n",
				admin, addr)
			file := filepath.Join(dir, "Caddyfile")
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				return nil, err
			}
			cmd := exec.CommandContext(ctx, caddy, "run", "--config", file, "--adapter", "caddyfile")
			cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
			return &server{cmd: cmd, addr: addr, gc: "http://" + admin + "/debug/pprof/heap?gc=1"}, cmd.Start()
		},
		connect: join,
	}
}

// join opens a websocket and waits until it is joined to a channel.
func join(addr string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, "GET /message/socket HTTP/1.1\r\nHost: "+addr+"\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return c, err
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReaderSize(c, 512)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return c, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return c, fmt.Errorf("the handshake was answered %s", resp.Status)
	}
	const text = `{"type":"join","channel":"anonymous-bench"}`
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // masked with zeros
	if _, err := c.Write(frame); err != nil {
		return c, err
	}
	for _, want := range []string{"welcome", "joined"} {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			return c, err
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(r, head); err != nil {
				return c, err
			}
			size = int(head[0])<<8 | int(head[1])
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(r, payload); err != nil {
			return c, err
		}
		if !strings.HasPrefix(string(payload), `{"type":"`+want) {
			return c, fmt.Errorf("got %s instead of %s", payload, want)
		}
	}
	return c, nil
}

// floorTarget is this program as the floor.
var floorTarget = target{
	start: func(ctx context.Context, _ string) (*server, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, "-floor")
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		addrs := strings.Fields(line)
		if err != nil || len(addrs) != 2 {
			return nil, fmt.Errorf("the floor did not start: %q, %w", line, err)
		}
		return &server{cmd: cmd, addr: addrs[0], gc: "http://" + addrs[1] + "/gc"}, nil
	},
	connect: func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) },
}

// serveFloor accepts connections and reads from each on a goroutine. It prints its two addresses.
func serveFloor() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr(), control.Addr())
	go func() {
		_ = http.Serve(control, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() }))
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			b := make([]byte, 512)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
		}()
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
