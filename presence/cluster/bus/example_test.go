package bus_test

import (
	"fmt"
	"log"

	"github.com/rollcall-gateway/rollcall/presence/cluster/bus"
)

// Two pods on one machine. The second one knows the first by its address.
func Example() {
	first, err := bus.Open(bus.Config{Name: "pod-1", Listen: "127.0.0.1:0", Secret: "known to both"})
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	second, err := bus.Open(bus.Config{
		Name:   "pod-2",
		Listen: "127.0.0.1:0",
		Routes: []string{first.State().Listen},
		Secret: "known to both",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()

	got := make(chan string, 1)
	cancel, err := second.Subscribe("greetings", func(payload []byte) {
		select {
		case got <- string(payload):
		default:
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	defer cancel()
	// Nothing is kept for those who are not there yet, so it is said until it is heard.
	for {
		if err := first.Publish("greetings", []byte("hello")); err != nil {
			log.Fatal(err)
		}
		if err := first.Flush(); err != nil {
			log.Fatal(err)
		}
		select {
		case text := <-got:
			fmt.Println(text)
			return
		default:
		}
	}
	// Output: hello
}
