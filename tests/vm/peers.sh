#!/bin/sh
# peers.sh CGROUP - the other tools, dry, for as long as the guest runs: each time one would have killed there is a line
# in /run/peers/log. What each is told is what its Debian package or its author says, pointed at the cgroup where it can be.
#   shell     the trigger of the issue: current > 95 % of max and max events, every 2 s
#   earlyoom  Debian's settings (10 % of the machine's memory), --dryrun
#   nohang    Debian's settings with PSI checking on, psi_path = the cgroup, 15 s; its os.kill replaced by a line
# systemd-oomd needs systemd as init: vm run --systemd.
cgroup=$1
mkdir -p /run/peers /debian/var/log/nohang
log=/run/peers/log
: >$log
up() {
	read -r now _ </proc/uptime
	echo "$now"
}
watch() { # watch TOOL PATTERN: a line for each that matches
	while read -r line; do
		case $line in
		*$2*) echo "$(up) $1 would kill: $line" >>$log ;;
		*) echo "$1: $line" >>/run/peers/out ;;
		esac
	done
}

(while sleep 2; do
	ev=0 cur=0 max=max
	read -r cur <"$cgroup/memory.current"
	read -r max <"$cgroup/memory.max"
	while read -r k v; do [ "$k" = max ] && ev=$v; done <"$cgroup/memory.events"
	# shellcheck disable=SC2017 # as the issue has it
	[ "$max" != max ] && [ "$cur" -gt $((max / 100 * 95)) ] && [ "$ev" -gt 0 ] &&
		echo "$(up) shell would kill: current=$cur max=$max events.max=$ev" >>$log
done) 2>/dev/null &

mkfifo /run/peers/earlyoom /run/peers/nohang
watch earlyoom 'low memory!' </run/peers/earlyoom &
chroot /debian /usr/bin/earlyoom -r 0 --dryrun >/run/peers/earlyoom 2>&1 &
sed -e 's/^psi_checking_enabled = .*/psi_checking_enabled = True/' -e "s,^psi_path = .*,psi_path = $cgroup/memory.pressure," \
	-e 's/^psi_excess_duration = .*/psi_excess_duration = 15/' /debian/etc/nohang/nohang.conf >/debian/tmp/nohang.conf
sed 's/os\.kill(int(pid), threshold)/print("WOULDKILL", pid, threshold, flush=True)/' /debian/usr/sbin/nohang >/debian/tmp/nohang
watch nohang WOULDKILL </run/peers/nohang &
# it looks once for the file at its start
mkdir -p "$cgroup"
chroot /debian /usr/bin/python3 -u /tmp/nohang --monitor --config /tmp/nohang.conf >/run/peers/nohang 2>&1 &
n=0
until grep -q 'Monitoring has started' /run/peers/out 2>/dev/null || [ $n -gt 120 ]; do
	sleep 0.5
	n=$((n + 1))
done
