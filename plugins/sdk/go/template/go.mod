module example.com/PLUGIN_NAME

go 1.24.0

require github.com/rollcall-gateway/rollcall/plugins/sdk/go v0.0.0

// The SDK is in this folder, so that a build needs no network.
replace github.com/rollcall-gateway/rollcall/plugins/sdk/go => ./rollcall
