package message_test

import (
	"errors"
	"fmt"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// A payload is good for the subject that it was made for, in the deployment that has the secret.
func Example() {
	codec := message.NewCodec("a long random text")
	from := message.Sender{DataCenter: "us-east-1", Pod: "web-1", Incarnation: message.Incarnation{Started: 1_700_000_000_000, Random: 1}}

	payload, err := codec.Append(nil, "rollcall.all", from, &message.Heartbeat{Connections: 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	sender, m, err := codec.Decode("rollcall.all", payload)
	fmt.Println(sender.Pod, m.(*message.Heartbeat).Connections, err)

	_, _, err = codec.Decode("rollcall.query", payload)
	fmt.Println(errors.Is(err, message.ErrForged))
	_, _, err = message.NewCodec("another").Decode("rollcall.all", payload)
	fmt.Println(errors.Is(err, message.ErrForged))
	// Output:
	// web-1 20 <nil>
	// true
	// true
}
