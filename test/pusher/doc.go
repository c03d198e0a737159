// Package pusher tests the Pusher door of the built binary: with the unmodified suites of the
// client pusher-js and of the server library pusher, with Laravel Echo in Node.js and in Chromium,
// and with the numbered tests of the door's specification.
//
// A test that begins with the number of a specified test, like TestT02KeyOfAnotherSite, is here,
// except for those that need no binary or belong to other measurements:
//
//   - T9, T13 and T14: vectors and member data in caddymodule/pusher/app. T13 and T14 are here,
//     too, with a server.
//   - T28: the bytes of answers in caddymodule/pusher/rest.
//   - T34: the fuzz targets in caddymodule/pusher and the packages below it.
//   - T35: memory and fan-out in test/e2e, and in the benchmark.
//
// TestT01SuitesOnOnePod and TestT01SuitesOnThreePods need no network: in namespaces of their own,
// the names of the hosts that the suites know are addresses of this machine.
package pusher
