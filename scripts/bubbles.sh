#!/bin/sh
# Runs a test binary, given with its arguments by "go test -exec", on one processor if its tests use
# testing/synctest.
#
# With the race detector, Go 1.26 runs timers of one bubble on two processors at once and gives both
# the same state of the detector (runtime.(*timer).maybeRunChan beside (*timers).check), which then
# reads out of bounds: a SIGSEGV after minutes of simulations. Timers of one processor cannot run at
# once, and the detector does not need two: it compares the order of accesses, not their times.
set -eu
if grep -q testing/synctest.Test "$1"; then
	export GOMAXPROCS=1
	# The default is GOMAXPROCS, and some tests of these packages wait for real time.
	set -- "$@" -test.parallel="$(nproc)"
fi
exec "$@"
