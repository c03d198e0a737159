package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// ours is a guest that Rollcall runs, as in a site: one plugin in a chain.
type ours struct {
	engine *plugins.Engine
	plugin *plugins.Plugin
	chain  *plugins.Chain
}

// newOurs loads a guest. Code in the cache, a folder of dir, is not compiled again; "" is no cache.
func newOurs(ctx context.Context, g guest, cache string) (*ours, error) {
	engine, err := plugins.NewEngine(plugins.EngineConfig{CacheDir: cache})
	if err != nil {
		return nil, err
	}
	o := &ours{engine: engine}
	// The timeouts are longer than any delay of a busy machine; their cost is the same.
	limits := plugins.Limits{ClassifyTimeout: deadline, ShapeTimeout: deadline}
	o.plugin, err = engine.Load(ctx, plugins.Spec{Path: g.path, Name: filepath.Base(filepath.Dir(g.path)), Limits: limits})
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	o.chain = plugins.NewChain(o.plugin)
	return o, nil
}

func (o *ours) close() error {
	o.chain.Release()
	return o.engine.Close()
}

// classify asks about a channel and returns the decision in the bits of the contract.
func (o *ours) classify(channel string) (uint64, error) {
	d, err := o.chain.Classify(host, channel, plugins.Authenticated)
	bits := uint64(d.Kind)
	if d.Hidden {
		bits |= 1 << 8
	}
	if d.CountOnly {
		bits |= 1 << 9
	}
	return bits, err
}

func (o *ours) shape(body []byte) ([]byte, error) {
	return o.chain.Shape(context.Background(), plugins.EndpointUsers, host, nil, body)
}

// members lists the users, each as JSON.
func (o *ours) members(users []user, each func(object []byte)) error {
	i := 0
	next := func() (plugins.User, bool) {
		if i == len(users) {
			return plugins.User{}, false
		}
		i++
		return plugins.User{ID: users[i-1].ID, Email: users[i-1].Email}, true
	}
	list := o.chain.Members(context.Background(), plugins.EndpointUsers, host, nil, next)
	for {
		object, err := list.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(object)
	}
}

// since returns how long an action took, in milliseconds.
func since(action func() error) (float64, error) {
	start := time.Now()
	err := action()
	return float64(time.Since(start).Microseconds()) / 1000, err
}
