package guest

import "testing"

// Common checks what the probes of all SDKs have in common. They differ in how they report a
// failure, and in their support of JSON beyond the options.
func Common(t *testing.T, file []byte) {
	t.Run("requests", func(t *testing.T) { requests(t, file) })
	t.Run("decisions", func(t *testing.T) { decisions(t, file) })
	t.Run("members", func(t *testing.T) { members(t, file) })
	t.Run("live", func(t *testing.T) { live(t, file) })
	consults(t, file)
	t.Run("shape", func(t *testing.T) { shape(t, file) })
	t.Run("large inputs", func(t *testing.T) { large(t, file) })
}
