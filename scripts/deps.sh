#!/bin/bash
# Installs what the tests need in addition to Go, git and make, with apt-get and npm. Does nothing
# if everything is there. With the argument bench, it installs what "make bench" needs in addition, too.
set -euo pipefail
cd "$(dirname "$0")/.."

# Commands, each with its Debian packages.
needs='
gcc       gcc libc6-dev
ip        iproute2
node      nodejs
npm       npm
php       php-cli
python3   python3
unshare   util-linux
systemd-analyze systemd
chromium  chromium
curl      curl
clang     clang
wasm-ld   lld
wat2wasm  wabt
'
if [ "${1-}" = bench ]; then
	needs+='
redis-server  redis-server
'
fi

# The tests of client.js use the test runner of this version.
node_major=20

node_is_new_enough() {
	command -v node >/dev/null && [ "$(node -p 'parseInt(process.versions.node)')" -ge "$node_major" ]
}

# Debian's Rust, even if another one without WebAssembly is earlier in the path: the tests look
# there first.
rust_is_there() {
	local library
	[ -x /usr/bin/cargo ] &&
		library=$(/usr/bin/rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) &&
		[ -d "$library" ]
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

install() {
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "The tests need these Debian packages, or equivalents of another system: $*" >&2
		echo "Install them, or run 'make deps' as root on Debian." >&2
		exit 1
	fi
	echo "Installing $*"
	apt_get update || true # an unreachable source matters only if no other has the packages
	apt_get install --no-install-recommends -y "$@" >/dev/null
}

packages=()
while read -r command names; do
	if [ -n "$command" ] && ! command -v "$command" >/dev/null; then
		read -r -a list <<<"$names"
		packages+=("${list[@]}")
	fi
done <<<"$needs"
if ! rust_is_there; then
	packages+=(rustc cargo lld libstd-rust-dev-wasm32)
fi
if [ "${#packages[@]}" -gt 0 ]; then
	install "${packages[@]}"
fi

# Debian 12 has Node.js 18. A newer one comes from the npm registry, into a folder that the Makefile
# adds to the path.
if ! node_is_new_enough; then
	echo "Installing Node.js $node_major into ${ROLLCALL_NODE:?}"
	npm install --silent --no-audit --no-fund --prefix "$ROLLCALL_NODE" "node@$node_major"
	hash -r
	node_is_new_enough || {
		echo "The tests need Node.js $node_major or later, and found $(node --version)." >&2
		exit 1
	}
fi

# install_locked installs the packages of a lock file into a folder, once for all tests: a file there
# shows that it is done. npm ci checks them against the hashes of the lock file. Further arguments are
# for npm ci.
install_locked() {
	local from=$1 to=$2 file=$3
	shift 3
	if ! cmp -s "$from/package-lock.json" "$to/package-lock.json" || [ ! -e "$to/node_modules/$file" ]; then
		echo "Installing the packages of $from into $to"
		mkdir -p "$to"
		cp "$from/package.json" "$from/package-lock.json" "$to"
		npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$to" "$@"
	fi
}

# The AssemblyScript compiler of the SDK's template; React, Vite, ws, Phoenix and TypeScript, for tests of
# client.js and rollcall-client, and React 18, because no folder can have both; standardwebhooks and svix, for those of events, and clients and a server library of Pusher.
install_locked plugins/sdk/assemblyscript/template "${ROLLCALL_ASSEMBLYSCRIPT:?}" .bin/asc
install_locked test/browser/npm "${ROLLCALL_BROWSER_NPM:?}" svix/package.json
install_locked test/browser/npm/react-18 "$ROLLCALL_BROWSER_NPM/react-18" react-dom/package.json
# The suites of pusher-js and pusher, without the browser and React Native parts, which only peer
# dependencies would bring.
install_locked test/pusher/npm "${ROLLCALL_PUSHER_NPM:?}" mocha/package.json --legacy-peer-deps
echo 'Everything that the tests need is there.'
