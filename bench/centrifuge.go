package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"

	"github.com/rollcall-gateway/rollcall/bench/load"
)

const centrifugeName = "centrifuge"

func centrifugePeer(redis string) *peer {
	return &peer{
		name: centrifugeName, title: "centrifuge", start: startSelf(centrifugeName, redis),
		path:  "/",
		greet: []load.Step{{Send: `{"id":1,"connect":{}}`}, {Await: `{"id":1,`}},
		join: func(k int, name string) load.Step {
			return load.Step{
				Send:  fmt.Sprintf(`{"id":%d,"subscribe":{"channel":%q}}`, k+2, name),
				Await: fmt.Sprintf(`{"id":%d,`, k+2),
			}
		},
		joined: `"subscribe":{`,
		publish: func(message string) string {
			return fmt.Sprintf(`{"id":1000,"publish":{"channel":%q,"data":%s}}`, shared, message)
		},
		ping: `{}`, pong: `{}`,
	}
}

// serveCentrifuge is a server on the centrifuge library, set up as in its documentation, with
// presence. Every connection has its own user, and may do everything that is measured. With the
// address of a Redis, servers share channels through it; presence, which would be kept there at a
// cost of its own, is off.
func serveCentrifuge(l net.Listener, redis string) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	var users atomic.Int64
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: userID(int(users.Add(1)))}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EmitPresence: redis == ""}}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, reply centrifuge.PublishCallback) {
			reply(centrifuge.PublishReply{}, nil)
		})
		client.OnPresence(func(_ centrifuge.PresenceEvent, reply centrifuge.PresenceCallback) {
			reply(centrifuge.PresenceReply{}, nil)
		})
	})
	if redis != "" {
		shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: redis})
		if err != nil {
			return err
		}
		broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
		if err != nil {
			return err
		}
		node.SetBroker(broker)
	}
	if err := node.Run(); err != nil {
		return err
	}
	s := &http.Server{Handler: centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}), ReadHeaderTimeout: 10 * time.Second}
	return s.Serve(l)
}

// userID returns an ID as long as a UUID.
func userID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }
