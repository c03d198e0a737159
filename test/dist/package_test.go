// Package dist tests the Debian package as dpkg installs it.
package dist

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// install runs in namespaces of its own, over a copy of the whole file system that nothing else sees.
// $1 is the package, and $2 an empty folder. It prints what a machine with the package says.
const install = `
set -eu
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" "$2/root"
for dir in dev proc; do mount --rbind "/$dir" "$2/root/$dir"; done
ip link set lo up
cp "$1" "$2/root/package.deb"
chroot "$2/root" /bin/sh -eu <<'EOF'
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
dpkg --install /package.deb >&2
stat -c 'environment %a %U' /etc/caddy/environment
systemd-analyze verify /usr/lib/systemd/system/caddy.service && echo 'unit ok' || echo 'unit bad'
# As the unit starts it.
cd /var/lib/caddy
set -a && . /etc/caddy/environment && set +a
HOME=/var/lib/caddy setpriv --reuid=caddy --regid=caddy --init-groups --inh-caps=+net_bind_service --ambient-caps=+net_bind_service \
	/usr/bin/caddy run --config /etc/caddy/Caddyfile >/tmp/caddy.log 2>&1 &
caddy=$!
i=0
until curl --silent --fail http://127.0.0.1/message/client.js >/dev/null; do
	i=$((i + 1))
	if [ $i -ge 200 ] || ! kill -0 $caddy; then cat /tmp/caddy.log >&2; exit 1; fi
	sleep 0.1
done
ask() { curl --silent --output /dev/null --write-out "$1 %{http_code}\n" --json "{\"apiKey\":\"$2\"}" http://127.0.0.1/message/allusers; }
ask 'the key of the package' "$ROLLCALL_API_KEY"
ask 'another key' wrong
caddy rollcall version
kill $caddy && wait $caddy && echo 'ended with 0'
dpkg --remove rollcall-caddy >&2
[ -e /usr/bin/caddy ] || echo 'removed'
[ -e /etc/caddy/Caddyfile ] && echo 'the Caddyfile is kept'
dpkg --purge rollcall-caddy >&2
[ -e /etc/caddy/environment ] || [ -e /var/lib/caddy ] || echo 'purged'
EOF
`

func TestDebianPackage(t *testing.T) {
	binary := os.Getenv("ROLLCALL_CADDY")
	if binary == "" {
		t.Fatal("ROLLCALL_CADDY is not set: run make e2e")
	}
	dir := t.TempDir()
	made := exec.CommandContext(t.Context(), "../../scripts/package.sh", binary, "amd64", dir)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("packages %q (%v)", packages, err)
	}
	var said, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "/bin/sh", "-c", install, "sh", packages[0], t.TempDir())
	cmd.Stdout, cmd.Stderr = &said, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &said, &log)
	}
	got := said.String()
	for _, want := range []string{
		"environment 600 root\n", "unit ok\n", "the key of the package 200\n", "another key 401\n", "Rollcall 1.",
		"ended with 0\n", "removed\n", "the Caddyfile is kept\n", "purged\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", got, &log)
	}
}
