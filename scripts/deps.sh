#!/bin/bash
# Installs what the tests need beside Go, git and make, by apt-get; does nothing when everything is there.
set -euo pipefail

# Command, then the Debian packages that bring it.
needs='
gcc       gcc libc6-dev
ip        iproute2
node      nodejs
chromium  chromium
curl      curl
'

# The tests of client.js use the test runner of this version.
node_major=20

node_is_new_enough() {
	command -v node >/dev/null && [ "$(node -p 'parseInt(process.versions.node)')" -ge "$node_major" ]
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

install() {
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "The tests need these Debian packages, or the like of another system: $*" >&2
		echo "Install them, or run 'make deps' as root on Debian." >&2
		exit 1
	fi
	echo "Installing $*"
	apt_get update || true # a source that does not answer matters only if the packages are not elsewhere
	apt_get install --no-install-recommends -y "$@" >/dev/null
}

packages=()
while read -r command names; do
	if [ -n "$command" ] && ! command -v "$command" >/dev/null; then
		read -r -a list <<<"$names"
		packages+=("${list[@]}")
	fi
done <<<"$needs"
if [ "${#packages[@]}" -gt 0 ]; then
	install "${packages[@]}"
fi

# Debian 12 has Node.js 18. A newer one comes from the npm registry, into a folder that the Makefile adds to the path.
if ! node_is_new_enough; then
	command -v npm >/dev/null || install npm
	echo "Installing Node.js $node_major into ${ROLLCALL_NODE:?}"
	npm install --silent --no-audit --no-fund --prefix "$ROLLCALL_NODE" "node@$node_major"
	hash -r
	node_is_new_enough || {
		echo "The tests need Node.js $node_major or later, and found $(node --version)." >&2
		exit 1
	}
fi
echo 'Everything that the tests need is there.'
