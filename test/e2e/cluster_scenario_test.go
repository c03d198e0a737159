package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// longCut is longer than any pod waits for a silent one.
const longCut = 8 * time.Second

// scenariosVariable has the number of runs of each scenario, instead of one.
const scenariosVariable = "ROLLCALL_SCENARIOS"

// scenario runs a test as often as the environment says. Scenarios mostly wait, so they run at the
// same time as others.
func scenario(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	n, isSet := scenarioRuns(t)
	if !isSet {
		run(t)
		return
	}
	for i := range n {
		t.Run(strconv.Itoa(i+1), run)
	}
}

// scenarioRuns returns the number of runs in the environment. isSet is false if there is none.
func scenarioRuns(t *testing.T) (n int, isSet bool) {
	t.Helper()
	text, isSet := os.LookupEnv(scenariosVariable)
	if !isSet {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number of runs", scenariosVariable, text)
	}
	return n, true
}
