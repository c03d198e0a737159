package plugins

import (
	"bytes"
	"context"
	"errors"
	"runtime"

	"github.com/rollcall-gateway/rollcall/plugins/internal/codec"
)

// shapeGrowth is the longest shaped answer, in multiples of the document limit.
const shapeGrowth = 4

var errNotJSON = errors.New("the result is not one JSON value")

// Shape passes body, a whole answer, through the plugins and returns the result, which may be body
// itself.
//
// # Errors
//
// It returns an [*Error] if a plugin fails whose policy is [Deny], and an error of ctx unchanged.
func (c *Chain) Shape(ctx context.Context, e Endpoint, host string, request, body []byte) ([]byte, error) {
	for _, p := range c.load() {
		core := p.anchor.core
		if !core.hooks.Has(HookShape) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pool := core.pool(host)
		shaped, f := pool.shape(e, request, body)
		runtime.KeepAlive(p)
		switch {
		case f != nil && core.policy == Pass:
		case f != nil:
			return nil, pool.error(HookShape, f)
		case shaped != nil:
			body = shaped
		}
	}
	return body, nil
}

func (p *pool) shape(e Endpoint, request, body []byte) ([]byte, *fault) {
	most := p.plugin.limits.Document
	if int64(len(body)) > most {
		return nil, p.recordFailure(HookShape,
			faultf(ReasonTooLarge, "the answer has %d bytes, the limit document is %d", len(body), most), false)
	}
	var shaped []byte
	_, f := p.transform(&exchange{
		hook: HookShape, endpoint: e, request: request, input: body,
		budget: p.plugin.limits.ShapeBudget, maxResult: int(most) * shapeGrowth,
		use: func(result []byte) error {
			if !codec.ValidJSON(result) {
				return errNotJSON
			}
			shaped = bytes.Clone(result)
			return nil
		},
	})
	if f != nil {
		return nil, f
	}
	return shaped, nil
}
