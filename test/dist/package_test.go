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

// enclose runs machine in namespaces and a control group of its own: systemd ends what is in the
// groups of its units. The arguments are machine, the package, an empty folder and supervised.
const enclose = `
set -eu
mount -t tmpfs tmpfs "$3"
mkdir "$3/cgroup" "$3/upper" "$3/work" "$3/root"
mount -t cgroup2 cgroup2 "$3/cgroup"
group=$3/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/rollcall-$$
mkdir "$group"
/bin/sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" \
	unshare --mount --net --pid --fork --kill-child --cgroup --uts --ipc /bin/sh -eu -c "$1" sh "$2" "$3" "$4" 3>&1 4>&2 ||
	true # killed: that is how a namespace powers off
until find "$group" -depth -type d -exec rmdir {} +; do sleep 0.1; done # until its last process has ended
`

// machine boots systemd over a copy of the whole file system that nothing else sees, and runs the
// script supervised there. systemd starts no unit of this machine.
const machine = `
mount -t overlay overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" "$2/root"
cp "$1" "$2/root/package.deb"
ln -s /usr/bin/systemctl "$2/root/poweroff" # what the package systemd-sysv has
cd "$2/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for node in null zero full random urandom tty; do touch "dev/$node" && mount --bind "/dev/$node" "dev/$node"; done
mkdir dev/shm dev/pts
ip link set lo up
rm -rf etc/systemd/system/*.wants usr/lib/systemd/system/*.wants
pivot_root . mnt
umount --lazy mnt
/bin/sh -eu -c "$3" >&3 2>&4 </dev/null &
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target </dev/null >/dev/null 2>&1 3>&- 4>&-
`

// supervised installs the package, and does with it what its supervisor and administrators do. It
// prints what they see.
const supervised = `
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
trap '/poweroff --force --force --no-sync' EXIT
wait_for() { # until a command succeeds
	i=0
	until "$@"; do
		i=$((i + 1))
		if [ $i -ge 600 ]; then echo "timeout: $*" >&2; journalctl --unit caddy --no-pager >&2; exit 1; fi
		sleep 0.1
	done
}
show() { systemctl show caddy --value --property "$1"; }
join() { # a client, whose frames and end are in the file
	tail -f /dev/null | caddy rollcall connect http://127.0.0.1 --join lobby >"$1" 2>&1 &
	wait_for grep -q '"joined"' "$1"
}
ask() { curl --silent --output /dev/null --write-out "$1 %{http_code}\n" --json "{\"apiKey\":\"$2\"}" http://127.0.0.1/message/allusers; }

wait_for [ -S /run/systemd/private ]
systemctl start systemd-journald
dpkg --install /package.deb >&2
curl --silent --fail --output /dev/null http://127.0.0.1/message/client.js && echo 'it serves once it is installed'
stat -c 'environment %a %U' /etc/caddy/environment
systemd-analyze verify /usr/lib/systemd/system/caddy.service && echo 'unit ok' || echo 'unit bad'
stat -c 'user %U' "/proc/$(show MainPID)"
. /etc/caddy/environment
ask 'the key of the package' "$ROLLCALL_API_KEY"
ask 'another key' wrong
journalctl --sync
journalctl --unit caddy --no-pager >/log
grep -q 'serving initial configuration' /log && ! grep "$ROLLCALL_API_KEY" /log >&2 && echo 'the journal has no key'
caddy rollcall version

sed -i 's/rollcall {/rollcall {\nchannels {\nanonymous lobby\n}/' /etc/caddy/Caddyfile
systemctl reload caddy
join /first
before=$(show MainPID)
sed -i 's/runs here/runs here again/' /etc/caddy/Caddyfile
systemctl reload caddy
curl --silent http://127.0.0.1/ | grep -q 'runs here again' && [ "$(show MainPID)" = "$before" ] && ! grep closed /first >&2 && echo 'reloaded'
cp /etc/caddy/Caddyfile /good
echo '}' >>/etc/caddy/Caddyfile
systemctl reload caddy >&2 || [ "$(show MainPID)" != "$before" ] || grep closed /first >&2 || echo 'a bad Caddyfile changes nothing'
cp /good /etc/caddy/Caddyfile

kill -KILL "$before"
wait_for grep -q 'closed the connection: 1006' /first
restarted() { [ "$(show NRestarts)" = 1 ] && systemctl --quiet is-active caddy; }
wait_for restarted
[ "$(show MainPID)" != "$before" ] && join /second && echo 'restarted after a crash'
before=$(show MainPID)
dpkg --install /package.deb >&2
wait_for grep -q 'closed the connection: 1012 {"after_ms":' /second
[ "$(show MainPID)" != "$before" ] && join /third && echo 'restarted after an update'
systemctl stop caddy
wait_for grep -q 'closed the connection: 1012 {"after_ms":' /third
echo "stopped: $(show Result), status $(show ExecMainStatus)"
dpkg --install /package.deb >&2
systemctl --quiet is-active caddy || echo 'an update leaves it stopped'

systemctl start caddy
dpkg --remove rollcall-caddy >&2
[ -e /usr/bin/caddy ] || systemctl --quiet is-active caddy || echo 'removed'
[ -e /etc/caddy/Caddyfile ] && [ -e /etc/caddy/environment ] && [ -d /var/lib/caddy ] && echo 'the Caddyfile, the key and the data are kept'
dpkg --purge rollcall-caddy >&2
[ -e /etc/caddy ] || [ -e /var/lib/caddy ] || echo 'purged'
`

func TestDebianPackage(t *testing.T) {
	binary := os.Getenv("ROLLCALL_CADDY")
	if binary == "" {
		t.Fatal("ROLLCALL_CADDY is not set: run make examples")
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
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "/bin/sh", "-c", enclose, "sh", machine, packages[0], t.TempDir(), supervised)
	cmd.Stdout, cmd.Stderr = &said, &log
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	got := said.String()
	for _, want := range []string{
		"it serves once it is installed\n", "environment 600 root\n", "unit ok\n", "user caddy\n", "the key of the package 200\n",
		"another key 401\n", "the journal has no key\n", "Rollcall 1.", "reloaded\n", "a bad Caddyfile changes nothing\n",
		"restarted after a crash\n", "restarted after an update\n", "stopped: success, status 0\n", "an update leaves it stopped\n",
		"removed\n", "the Caddyfile, the key and the data are kept\n", "purged\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", got, &log)
	}
}
