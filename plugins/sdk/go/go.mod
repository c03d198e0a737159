module github.com/rollcall-gateway/rollcall/plugins/sdk/go

go 1.24.0
