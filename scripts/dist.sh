#!/bin/bash
# Builds what a release has into bin/dist: binaries for Linux, Debian packages of them, a list of their
# modules (CycloneDX), and checksums. The same commit and version of Go give the same bytes.
#
# With buildah, it also builds the image of the machine's own architecture.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^const Rollcall = "\(.*\)"$/\1/p' internal/version/version.go)
: "${version:?internal/version/version.go has no version}"
# Times in packages are those of the commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

dist=bin/dist
rm -rf "$dist"
mkdir -p "$dist"
# The tools run here, whatever the binaries are for.
mkdir -p bin/tools
go build -C tools/xcaddy -o "$PWD/bin/tools/xcaddy" .
go build -C tools/dist -o "$PWD/bin/tools/cyclonedx-gomod" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

for arch in amd64 arm64; do
	name=rollcall_${version}_linux_$arch
	echo "Building $name"
	GOOS=linux GOARCH=$arch bin/tools/xcaddy -config xcaddy.json -output "$dist/$name" 2>"$dist/$name.log" ||
		{ cat "$dist/$name.log" >&2; exit 1; }
	rm "$dist/$name.log"
	scripts/package.sh "$dist/$name" "$arch" "$dist"
	bin/tools/cyclonedx-gomod bin -json -licenses=false -noserial -notimestamp -version "v$version" -output "$dist/$name.cdx.json" "$dist/$name"
done

# Packing writes files beside the sources.
packing=$(mktemp -d)
mkdir "$packing/clients"
cp LICENSE "$packing/"
cp -r clients/js "$packing/clients/"
npm pack --silent --offline --pack-destination "$PWD/$dist" "$packing/clients/js"
rm -r "$packing"

if command -v buildah >/dev/null; then
	arch=$(go env GOARCH)
	context=$(mktemp -d)
	trap 'rm -rf "$context"' EXIT
	cp "$dist/rollcall_${version}_linux_$arch" "$context/caddy"
	cp /etc/ssl/certs/ca-certificates.crt "$context/"
	mkdir "$context/data"
	buildah build --timestamp "$SOURCE_DATE_EPOCH" --build-arg BINARY=caddy -f packaging/Dockerfile \
		-t "oci:$context/image" "$context"
	# An archive by buildah has the time of its making.
	tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
		-cf "$dist/rollcall_${version}_linux_$arch.oci.tar" -C "$context/image" .
else
	echo 'Without buildah, no image is built.'
fi
(cd "$dist" && sha256sum -- rollcall* | LC_ALL=C sort -k2 >SHA256SUMS)
echo "Written to $dist:"
ls -l "$dist"
