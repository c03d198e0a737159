package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/internal/testkit"
)

var cases = []struct {
	name  string
	event Event
	want  string
}{
	{
		name:  "occupied",
		event: Event{Name: ChannelOccupied, Channel: "news", Number: &Number{Epoch: 1795737600123, Seq: 1, Count: 1}},
		want:  `{"name":"channel_occupied","channel":"news","seq":1,"epoch":1795737600123,"count":1}`,
	},
	{
		name:  "vacated",
		event: Event{Name: ChannelVacated, Channel: "news", Number: &Number{Epoch: 7, Seq: 2}},
		want:  `{"name":"channel_vacated","channel":"news","seq":2,"epoch":7,"count":0}`,
	},
	{
		name:  "member",
		event: Event{Name: MemberAdded, Channel: "presence-room", UserID: `a "b"`, Number: &Number{Epoch: 7, Seq: 3, Count: 2}},
		want:  `{"name":"member_added","channel":"presence-room","user_id":"a \"b\"","seq":3,"epoch":7,"count":2}`,
	},
	{
		name:  "client event",
		event: Event{Name: ClientEvent, Channel: "presence-room", UserID: "ada", Client: &Client{"client-typing", `{"on":"é"}`, "1.2"}},
		want:  `{"name":"client_event","channel":"presence-room","event":"client-typing","data":"{\"on\":\"é\"}","socket_id":"1.2","user_id":"ada"}`,
	},
	{
		name:  "cache miss",
		event: Event{Name: CacheMiss, Channel: "cache-rates"},
		want:  `{"name":"cache_miss","channel":"cache-rates"}`,
	},
	{
		name:  "subscription count",
		event: Event{Name: SubscriptionCount, Channel: "news", Number: &Number{Epoch: 7, Seq: 4, Count: 3}},
		want:  `{"name":"subscription_count","channel":"news","subscription_count":3,"seq":4,"epoch":7,"count":3}`,
	},
}

func TestBodyHasTheEventsAsTheyWereQueued(t *testing.T) {
	host := testkit.MustHost(t, "portal.example.com")
	w := new(Writer)
	queued := time.UnixMilli(1327078148132)
	var all [][]byte
	joined := ""
	for _, test := range cases {
		one := test.event.Encode("evt_x", host)
		if !json.Valid(one) {
			t.Errorf("%s: %s", test.name, one)
		}
		if got, want := string(w.Body([][]byte{one}, queued)), `{"time_ms":1327078148132,"events":[`+test.want+`]}`; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, want)
		}
		all = append(all, one)
		joined += "," + test.want
	}
	if got, want := string(w.Body(all, queued)), `{"time_ms":1327078148132,"events":[`+joined[1:]+`]}`; got != want {
		t.Errorf("all:\n%s\nwant\n%s", got, want)
	}
}

func TestSignatureIsOfTheBytesThatAreSent(t *testing.T) {
	secret := []byte("7ad3773142a6692b25b8")
	w := &Writer{Key: app.Key{Key: "278d425bdf160c739803", Secret: secret}}
	body := []byte(`{"time_ms":1,"events":[]}`)
	header := make(http.Header)
	w.Sign(header, body)
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	if got, want := header.Get("X-Pusher-Signature"), hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if got := header.Get("X-Pusher-Key"); got != "278d425bdf160c739803" {
		t.Errorf("key %q", got)
	}
}
