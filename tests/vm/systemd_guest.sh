#!/bin/sh
# shellcheck shell=dash disable=SC2317 # functions that until_true calls
# The unit of deploy/systemd under a real systemd, inside the guest (tests/vm/systemd.py reads what it leaves in /out): started,
# its supervisor killed, reloaded, restarted, stopped.
mkdir -p /out
unit=/sys/fs/cgroup/system.slice/stella.service
until_true() { # until_true SECONDS COMMAND...
	n=$(($1 * 5))
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.2
	done
}
shows() { systemctl show -P "$1" stella; }
look() { # look NAME: what systemd and the service say now, to /out/NAME.*
	echo "$(shows ActiveState) $(shows SubState) $(shows MainPID) $(shows NRestarts)" >"/out/$1.state"
	stella scanner workers stats --format json >"/out/$1.workers" 2>"/out/$1.err"
	cat "/proc/$(shows MainPID)/cgroup" >"/out/$1.cgroup"
	find $unit -type d >"/out/$1.tree"
}
has_worker() { stella scanner workers list --format json | grep -q '"state":"*idle\|"state": "idle'; }
ready() { [ "$(shows ActiveState)" = active ] && has_worker; }
died() { [ "$(shows MainPID)" != "$1" ] && ready; }
scan() { # scan NAME: a scan of a directory by the service
	stella scan image rootfs:/tmp/tree --format purls --output "/out/$1.purls" >"/out/$1.scan" 2>&1
	echo $? >>"/out/$1.scan"
}
busy() { find $unit/workers -mindepth 1 -type d | grep -q .; }

cp -a /payload/stella /payload/stella-* /usr/bin/
cp -n /payload/lib/* /usr/lib/x86_64-linux-gnu/
ldconfig
cp /payload/systemd/stella.service /lib/systemd/system/
mkdir -p /usr/lib/sysusers.d /usr/lib/tmpfiles.d
cp /payload/systemd/stella.sysusers.conf /usr/lib/sysusers.d/stella.conf
cp /payload/systemd/stella.tmpfiles.conf /usr/lib/tmpfiles.d/stella.conf
systemd-sysusers stella.conf
systemd-tmpfiles --create stella.conf
systemctl daemon-reload
systemctl --version | head -n 1 >/out/version

mkdir -p /tmp/tree/var/lib/dpkg /tmp/tree/etc
cp /var/lib/dpkg/status /tmp/tree/var/lib/dpkg/
cp /etc/os-release /tmp/tree/etc/
systemctl start stella >/out/start 2>&1
until_true 30 ready
look started
scan started

# Killed while a worker is at work: its cgroup is populated, controllers are enabled below the unit's.
stella scan image rootfs:/usr --format purls --output /dev/null >/out/dying.scan 2>&1 &
until_true 30 busy
find $unit -type d >/out/busy.tree
pid=$(shows MainPID)
kill -9 "$pid"
until_true 60 died "$pid"
look killed
scan killed

pid=$(shows MainPID)
systemctl reload stella >/out/reload 2>&1
until_true 30 ready
look reloaded
scan reloaded
systemctl restart stella >/out/restart 2>&1
until_true 30 ready
look restarted
systemctl stop stella >/out/stop 2>&1
look stopped
journalctl -u stella --no-pager -o cat >/out/journal
