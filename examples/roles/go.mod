module github.com/rollcall-gateway/rollcall/examples/roles

go 1.24.0

require github.com/rollcall-gateway/rollcall/plugins/sdk/go v0.0.0

replace github.com/rollcall-gateway/rollcall/plugins/sdk/go => ../../plugins/sdk/go
