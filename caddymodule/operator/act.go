package operator

import (
	"context"
	"encoding/json"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Result is the answer to an action.
type Result struct {
	Truth
	Answer json.RawMessage `json:"answer"` // that of the endpoint
}

// Act carries out sendmessage, disconnect or leave as the endpoint of this name below /message
// does, with the same body, but without a key. For sendmessage, the truth names the pods that may
// not have delivered the message. by is the operator, for the log. It returns ErrNoHost, or an
// error with the answer of the endpoint, see [api.ActError].
func (o *Operator) Act(ctx context.Context, by string, host presence.HostName, name string, body []byte) (Result, error) {
	of := o.pods.SiteOf(host)
	if of == nil {
		return Result{}, ErrNoHost
	}
	acted, err := o.actor.Act(ctx, name, of, host, body)
	o.logger.Info("operator action", zap.String("by", by), zap.String("action", name), zap.Stringer("host", host), zap.Error(err))
	if err != nil {
		return Result{}, err
	}
	truth := acted.Truth
	if name == "sendmessage" {
		// No pod confirms a message. A pod that does not answer now may not have delivered it.
		_, truth = o.pods.AllHosts(ctx, host)
	}
	return Result{Truth: truthOf(truth), Answer: acted.Body}, nil
}

// ResetBreaker closes the breakers of a plugin for a host, as [plugins.Report] names both, on this
// pod. by is the operator, for the log. It returns ErrNoPlugin.
func (o *Operator) ResetBreaker(by, plugin, host string) error {
	if !o.pods.ResetBreakers(plugin, host) {
		return ErrNoPlugin
	}
	o.logger.Info("operator action", zap.String("by", by), zap.String("action", "resetbreaker"), zap.String("host", host), zap.String("plugin", plugin))
	return nil
}
