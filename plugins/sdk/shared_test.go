//go:build !race

package sdk

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/internal/guest"
)

// TestSharedDataAndMetricsAsInProxyWasm has the assertions of the tests of examples/shared_data and
// examples/metrics in github.com/proxy-wasm/proxy-wasm-go-sdk: after one call the shared value is
// 1, after three it is 3, and the counter of a value has the number of its calls. Besides, nothing
// is lost between instances.
func TestSharedDataAndMetricsAsInProxyWasm(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shared.wasm")
	dir := project(t, "go", "main.go", guest.Read(t, "testdata", "shared-go", "main.go"))
	if err := os.Remove(filepath.Join(dir, "main_test.go")); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "make")
	if err := os.Rename(filepath.Join(dir, "plugin.wasm"), file); err != nil {
		t.Fatal(err)
	}
	counts := new(plugins.Counts)
	chain, logs := guest.Load(t, plugins.Spec{Path: file, Counts: counts, Limits: plugins.Limits{Instances: 4, MessageTimeout: time.Minute}})
	send := func(body string) {
		t.Helper()
		got, err := chain.Message("portal.example.com", "room", plugins.Authenticated, plugins.Sender{Connection: "C"}, []byte(body), 1000)
		if err != nil || string(got) != body {
			t.Errorf("got %s, %v", got, err)
		}
	}
	logged := func(text string) bool { return logs.FilterMessage(text).Len() == 1 }
	const foo = `{"my-custom-header":"foo"}`
	send(foo)
	if !logged("shared value: 1") {
		t.Errorf("after one call: %v", logs.All())
	}
	send(foo)
	send(foo)
	if !logged("shared value: 3") {
		t.Errorf("after three calls: %v", logs.All())
	}
	if n := counts.Read()["custom_header_value_counts_foo"]; n != 3 {
		t.Errorf("the counter is %d, want 3", n)
	}

	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				send(`{"my-custom-header":"bar"}`)
			}
		})
	}
	all.Wait()
	send(`{}`)
	if n := counts.Read()["custom_header_value_counts_bar"]; n != 400 {
		t.Errorf("the other counter is %d, want 400", n)
	}
	if n := logs.FilterMessage("the stored value is not what was added").Len(); n > 0 {
		t.Errorf("%d values were lost", n)
	}
}
