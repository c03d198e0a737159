module github.com/rollcall-gateway/rollcall/tools/gotest

go 1.26.0
