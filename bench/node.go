package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
)

// peerFiles are the servers on Node.js, with the versions of their dependencies.
//
//go:embed peers
var peerFiles embed.FS

const socketioName = "socketio"

// nodePeer is a server on Node.js, beside others on the Redis at an address if that is not "".
func nodePeer(name, title, redis string) *peer {
	p := &peer{name: name, title: title, start: startNode(name, redis)}
	switch name {
	case "ws":
		p.path = "/"
		p.greet = []load.Step{{Await: `{"type":"welcome"`}}
		p.join = func(_ int, name string) load.Step {
			return load.Step{Send: fmt.Sprintf(`{"type":"join","channel":%q}`, name), Await: `{"type":"joined"`}
		}
		p.joined = `"joined"`
		p.publish = func(message string) string {
			return fmt.Sprintf(`{"type":"send","channel":%q,"message":%s}`, shared, message)
		}
	case socketioName:
		// Packets of Engine.IO 4 and, after a 4, of Socket.IO 5.
		p.path = "/socket.io/?EIO=4&transport=websocket"
		p.greet = []load.Step{{Await: "0{", Send: "40"}, {Await: "40{"}}
		p.join = func(_ int, name string) load.Step {
			return load.Step{Send: fmt.Sprintf(`42["join",%q]`, name), Await: `42["joined"`}
		}
		p.joined = `"joined"`
		p.publish = func(message string) string { return fmt.Sprintf(`42["send",%q,%s]`, shared, message) }
		p.ping, p.pong = "2", "3"
	}
	return p
}

// startNode starts a server on Node.js. Before the first one, it installs their dependencies.
func startNode(name, redis string) func(ctx context.Context, b *bench) (*server.Process, error) {
	return func(ctx context.Context, b *bench) (*server.Process, error) {
		dir, err := installNode(ctx)
		if err != nil {
			return nil, err
		}
		return server.Start(ctx, "node", "--expose-gc", filepath.Join(dir, name+".mjs"), redis)
	}
}

// installNode puts the servers and the dependencies of the lock file into the user's cache folder.
// npm checks them against the hashes of the lock file.
func installNode(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "rollcall", "bench-peers")
	const lock = "package-lock.json"
	before, err := os.ReadFile(filepath.Join(dir, lock))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := writePeerFiles(dir); err != nil {
		return "", err
	}
	after, err := os.ReadFile(filepath.Join(dir, lock))
	if err != nil {
		return "", err
	}
	// npm writes this file at the end.
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "."+lock)); err == nil && bytes.Equal(before, after) {
		return dir, nil
	}
	progress("installing the servers on Node.js into %s", dir)
	npm := exec.CommandContext(ctx, "npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir)
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci, which needs Node.js 20 (make deps): %w: %s", err, out)
	}
	return dir, nil
}

func writePeerFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := fs.ReadDir(peerFiles, "peers")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		text, err := peerFiles.ReadFile("peers/" + entry.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, entry.Name()), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
