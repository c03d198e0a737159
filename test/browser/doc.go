// Package browser drives the demo page in headless Chromium against the built binary, over plain
// HTTP and over TLS, and checks what a user of the page sees.
package browser
