#!/bin/bash
# Makes the Debian package of a built binary: package.sh BINARY amd64|arm64 FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
BINARY=$1 ARCH=$2
VERSION=$(sed -n 's/^const Rollcall = "\(.*\)"$/\1/p' internal/version/version.go)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}" # the times of files in the package
export BINARY ARCH VERSION SOURCE_DATE_EPOCH
nfpm=bin/tools/nfpm
go build -C tools/dist -o "$PWD/$nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm # instantly, if it is there
exec "$nfpm" package --config packaging/nfpm.yaml --packager deb --target "$3/rollcall-caddy_${VERSION}_$ARCH.deb"
