package rollcall

// Count adds to the metric caddy_rollcall_plugin_counter_total with the name. A name has 1 to 40
// characters of a to z, 0 to 9 and _; a plugin has at most 32. delta is 0 or more. It works in all hooks.
// A wrong name or delta ends the call as a panic does.
func Count(name string, delta int64) {
	count(name, delta)
}
