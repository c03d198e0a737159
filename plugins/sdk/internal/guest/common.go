package guest

import "testing"

// Common runs what the probes of all SDKs do alike. They differ in how they report a failure, and in whether they know
// JSON beyond the options.
func Common(t *testing.T, file []byte) {
	t.Run("requests", func(t *testing.T) { requests(t, file) })
	t.Run("decisions", func(t *testing.T) { decisions(t, file) })
	t.Run("members", func(t *testing.T) { members(t, file) })
	t.Run("shape", func(t *testing.T) { shape(t, file) })
	t.Run("large inputs", func(t *testing.T) { large(t, file) })
}
