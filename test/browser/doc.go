// Package browser drives the demo page in headless Chromium against the built binary: what a customer would see, over
// plain HTTP and over TLS.
package browser
