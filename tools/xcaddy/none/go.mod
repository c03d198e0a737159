// No package is here, on purpose. xcaddy.json replaces the module path below by this folder, so that "go get" finds
// the package of that name in the module above it without asking a module proxy for a module that does not exist:
// some proxies refuse such a question rather than answer "not found", and the build ends there.
module github.com/rollcall-gateway/rollcall/caddymodule

go 1.26.0
