package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
)

// peer is a guest that the Go SDK of Extism runs, for one call at a time.
type peer struct {
	plugin  *extism.Plugin
	request []byte
}

// newPeer loads a guest. If timeout is not 0, the SDK gives each call a deadline.
func newPeer(ctx context.Context, wasm []byte, timeout time.Duration) (*peer, error) {
	manifest := extism.Manifest{
		Wasm: []extism.Wasm{extism.WasmData{Data: wasm}}, Timeout: uint64(timeout.Milliseconds()),
	}
	config := extism.PluginConfig{EnableWasi: true, RuntimeConfig: wazero.NewRuntimeConfigCompiler()}
	plugin, err := extism.NewPlugin(ctx, manifest, config, nil)
	if err != nil {
		return nil, fmt.Errorf("extism: %w", err)
	}
	return &peer{plugin: plugin}, nil
}

func (p *peer) close(ctx context.Context) error { return p.plugin.CloseWithContext(ctx) }

func (p *peer) classify(channel string) (uint64, error) {
	p.request = appendRequest(p.request[:0], channel)
	code, out, err := p.plugin.Call("classify", p.request)
	if err != nil || code != 0 || len(out) != 8 {
		return 0, fmt.Errorf("extism: classify returned %d and %d bytes: %w", code, len(out), err)
	}
	return binary.LittleEndian.Uint64(out), nil
}

func (p *peer) shape(body []byte) ([]byte, error) {
	code, out, err := p.plugin.Call("shape", body)
	if err != nil || code != 0 {
		return nil, fmt.Errorf("extism: shape returned %d: %w", code, err)
	}
	return out, nil
}
