package plugins_test

import (
	"context"
	"fmt"

	"github.com/rollcall-gateway/rollcall/plugins"
)

func ExampleEngine_Load() {
	engine, err := plugins.NewEngine(plugins.EngineConfig{Memory: 256 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	_, err = engine.Load(context.Background(), plugins.Spec{
		Path:   "testdata/absent.wasm",
		Config: []byte(`{"team":"support"}`),
		Limits: plugins.Limits{Memory: 4 << 20},
	})
	fmt.Println(err)
	// Output: plugin testdata/absent.wasm: open: no such file or directory
}

func ExampleChain_Members() {
	users := []plugins.User{{ID: "1", Email: "a@example.com"}, {ID: "2", Email: "b@example.com"}}
	next := func() (u plugins.User, ok bool) {
		if len(users) > 0 {
			u, users, ok = users[0], users[1:], true
		}
		return u, ok
	}
	// A chain without plugins shows the users unchanged.
	members := plugins.NewChain().Members(context.Background(), plugins.EndpointUsers, "example.com", nil, next)
	for {
		object, err := members.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(object))
	}
	// Output:
	// {"id":"1","email":"a@example.com"}
	// {"id":"2","email":"b@example.com"}
	// EOF
}
