module github.com/rollcall-gateway/rollcall/bench

go 1.26.0
