#!/bin/sh
# peers.sh CGROUP DIR - the other tools, dry, all beside one case: DIR/peers.log gets one line per tool, when it first
# would have killed. What each is told is what its Debian package or its author says, pointed at the cgroup where it can be.
#   shell     the trigger of the issue: current > 95 % of max and max events, every 2 s
#   earlyoom  Debian's settings (10 % of the machine's memory), --dryrun
#   nohang    Debian's settings with PSI checking on, psi_path = the cgroup, 15 s; its os.kill replaced by a line
# systemd-oomd needs systemd as init: cells with init=systemd.
cgroup=$1
dir=$2
log=$dir/peers.log
: >"$log"
up() { cut -d' ' -f1 /proc/uptime; }
first() { # first TOOL PATTERN: the first line that matches, with the time
	while read -r line; do
		case $line in *$2*)
			echo "$(up) $1 would kill: $line" >>"$log"
			break
			;;
		esac
		echo "$1: $line" >>"$dir/peers.out"
	done
	cat >/dev/null
}
helper() { echo "$1" >"/run/lab/helper.$1"; }

# shellcheck disable=SC2017 # as the issue has it
(while sleep 2; do
	cur=$(cat "$cgroup/memory.current") max=$(cat "$cgroup/memory.max") ev=$(sed -n 's/^max //p' "$cgroup/memory.events")
	[ "$max" != max ] && [ "$cur" -gt $((max / 100 * 95)) ] && [ "$ev" -gt 0 ] && {
		echo "$(up) shell would kill: current=$cur max=$max events.max=$ev" >>"$log"
		exit
	}
done) &
helper $!
mkfifo /run/lab/earlyoom /run/lab/nohang
first earlyoom 'low memory!' </run/lab/earlyoom &
helper $!
chroot /debian /usr/bin/earlyoom -r 0 --dryrun >/run/lab/earlyoom 2>&1 &
helper $!
mkdir -p /debian/var/log/nohang
sed -e 's/^psi_checking_enabled = .*/psi_checking_enabled = True/' -e "s,^psi_path = .*,psi_path = $cgroup/memory.pressure," \
	-e 's/^psi_excess_duration = .*/psi_excess_duration = 15/' /debian/etc/nohang/nohang.conf >/debian/tmp/nohang.conf
sed 's/os\.kill(int(pid), threshold)/print("WOULDKILL", pid, threshold, flush=True)/' /debian/usr/sbin/nohang >/debian/tmp/nohang
first nohang WOULDKILL </run/lab/nohang &
helper $!
chroot /debian /usr/bin/python3 -u /tmp/nohang --monitor --config /tmp/nohang.conf >/run/lab/nohang 2>&1 &
helper $!
wait
