package rest

import (
	"context"
	"encoding/json"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// events answers POST /events: it sends one event to channels and users.
func (s *Server) events(ctx context.Context, q *request) (response, *failure) {
	v, e := parseObject(q.body, "the body")
	if e != nil {
		return response{}, e
	}
	ev, e := parseEvent(v, q.config, false)
	if e != nil {
		return response{}, e
	}
	if err := s.prepare(q, &ev); err != nil {
		return response{}, notSent(err)
	}
	// Count before the event is sent: an answer that is refused as incomplete would make the
	// backend send it again.
	counted, truth := s.attributesOf(ctx, q, ev.channels, ev.info)
	if !truth.Complete && q.complete() {
		return response{}, incomplete(truth)
	}
	if err := s.send(q, &ev); err != nil {
		return response{}, notSent(err)
	}
	if ev.info == 0 {
		return response{[]byte(`{}`), truth}, nil
	}
	s.cacheAgain(q, ev.channels, counted)
	body := []byte(`{"channels":{`)
	for i, name := range ev.channels {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(wire.AppendString(body, name), ':')
		body = counted[i].append(body)
	}
	return response{append(body, '}', '}'), truth}, nil
}

// batchEvents answers POST /batch_events: it sends several events, each to one channel or user. If
// one of them is wrong, none is sent.
func (s *Server) batchEvents(ctx context.Context, q *request) (response, *failure) {
	batch, e := parseBatch(q)
	if e != nil {
		return response{}, e
	}
	asked := false
	for i := range batch {
		if err := s.prepare(q, &batch[i]); err != nil {
			return response{}, notSent(err).in(i)
		}
		asked = asked || batch[i].info != 0
	}
	counted := make([]counts, len(batch))
	truth := s.ownTruth(q)
	if asked {
		truth = s.attributesOfBatch(ctx, q, batch, counted)
	}
	if !truth.Complete && q.complete() {
		return response{}, incomplete(truth)
	}
	for i := range batch {
		if err := s.send(q, &batch[i]); err != nil {
			e := notSent(err).in(i)
			e.text += ", nor were those after it" // those before it are: too many were sent at one time
			return response{}, e
		}
	}
	if !asked {
		return response{[]byte(`{}`), truth}, nil
	}
	s.cacheAgain(q, channelsOf(batch), counted)
	body := []byte(`{"batch":[`)
	for i := range counted {
		if i > 0 {
			body = append(body, ',')
		}
		body = counted[i].append(body)
	}
	return response{append(body, ']', '}'), truth}, nil
}

// channelsOf returns the channel of each event of a batch.
func channelsOf(batch []event) []string {
	channels := make([]string, len(batch))
	for i := range batch {
		channels[i] = batch[i].channels[0]
	}
	return channels
}

func parseBatch(q *request) ([]event, *failure) {
	v, e := parseObject(q.body, "the body")
	if e != nil {
		return nil, e
	}
	var items []json.RawMessage
	if raw, found := v["batch"]; !found || json.Unmarshal(raw, &items) != nil {
		return nil, badRequest("batch must be an array of events")
	}
	if len(items) > q.config.BatchSize {
		return nil, badRequest("batch has %d events, over %d: send several batches, or set batch_size in the pusher block", len(items), q.config.BatchSize)
	}
	batch := make([]event, len(items))
	for i, item := range items {
		v, e := parseObject(item, "an event")
		if e == nil {
			batch[i], e = parseEvent(v, q.config, true)
		}
		if e != nil {
			return nil, e.in(i)
		}
	}
	return batch, nil
}

// prepare makes the messages of an event. An error is counted: the event was not sent.
func (s *Server) prepare(q *request, ev *event) error {
	err := s.CheckSend(q.site)
	if err == nil {
		err = ev.prepare(s.Registry, q.site, q.host)
	}
	if err != nil {
		s.Sent(q.host, err)
	}
	return err
}

// send sends an event that was prepared.
func (s *Server) send(q *request, ev *event) error {
	err := ev.send(s.Registry, q.host)
	s.Sent(q.host, err)
	return err
}

// ownTruth is the completeness of an answer that asks no pod.
func (s *Server) ownTruth(q *request) cluster.Truth {
	others, truth := s.PodsToAsk(q.site)
	if others != nil {
		return cluster.Truth{Complete: true}
	}
	return truth
}
