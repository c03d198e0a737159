package e2e

import (
	"net/http"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// An external NATS needs no JetStream, and while it is down, each pod keeps the assignments that it
// receives.
func TestAssignmentsOverAnExternalNATS(t *testing.T) {
	t.Parallel()
	opts := server.Options{NoSystemAccount: true, Port: podPort(t)}
	first := opts
	n := startNATS(t, &first)
	pods := deployOn(t, n, podNames(1, "eu-west", "us-east"), "")
	pods.await(t)
	a := assignTo(t, pods[0].site, "adduser", assignment("salesRoom", "USER_1"))
	if a.Status != http.StatusCreated || a.Header.Get("Rollcall-Complete") != "true" {
		t.Fatalf("status %d, %v: %s", a.Status, a.Header, a.Body)
	}
	here := pods[1].site.Dial(t, bearer(t, "USER_1")...)
	here.Expect(t, joinedFrame("salesRoom"))

	n.end()
	a = assignTo(t, pods[1].site, "adduser", assignment("support", "USER_2"))
	if a.Status != http.StatusCreated || a.Header.Get("Rollcall-Complete") != "false" {
		t.Errorf("without NATS: status %d, %v: %s", a.Status, a.Header, a.Body)
	}
	there := pods[0].site.Dial(t, bearer(t, "USER_2")...)
	assigned(t, pods[0].site, "removeuser", `[{"id":"USER_1"}]`)
	second := opts
	startNATS(t, &second)
	there.Expect(t, joinedFrame("support"))
	here.Expect(t, leftFrame("salesRoom"))
}
