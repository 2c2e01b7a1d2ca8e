#!/bin/sh
# One case of the matrix, inside the guest (tests/vm/matrix writes the calls):
#
#     case.sh NAME [KEY=VALUE]... -- STEP...
#
# limit=MIB  high=MIB  owner=container|pod|both  group=0|1  kind=end|leave  dur=S (end: at the limit; leave: at most)
# tool=none|stella|stella-dry
#
# Steps: ROLE=WORKLOAD [KEY=VALUE]... [-- COMMAND]   start it in the container, in the background
#        ready                      until all have warmed up
#        sleep S
#        set FILE VALUE             write a control file of the limit's owner
#        volume DIR                 mount a tmpfs there (its pages are charged to who writes them)
# Roles: agent, peer: innocent, must live; hog: what must end; job: has work to finish.
#
# Leaves in /out/NAME: log (times are seconds since boot, as in the trace), trace.jsonl, container.jsonl if another
# cgroup owns the limit, and what the tools wrote; sends it off at once.
name=$1
shift
limit=512 high='' owner=container group=0 kind=leave dur=60 tool=none
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	eval "${1%%=*}=\${1#*=}"
	shift
done
shift
out=/out/$name
lab=/run/lab
mkdir -p "$out" $lab /data/bin
rm -f $lab/*
up() {
	read -r now _ </proc/uptime
	echo "$now"
}
say() { echo "$(up) $*" >>"$out/log"; }

if [ -e /run/systemd/system ]; then
	owner=container
	systemctl set-property --runtime lab.slice ManagedOOMMemoryPressure=kill # the rest as Debian has it
	systemd-run -q --unit="job-$name" --slice=lab.slice -p Delegate=yes -p MemoryMax="${limit}M" sleep 100000
	pod=/sys/fs/cgroup/lab.slice
	box=$pod/job-$name.service
	sleep 1
else
	pod=/sys/fs/cgroup/lab/pod
	box=$pod/box
	mkdir -p $box /sys/fs/cgroup/tools
	for d in /sys/fs/cgroup/lab $pod; do echo '+cpu +io +memory +pids' >"$d/cgroup.subtree_control"; done
fi
top=$box
case $owner in
pod) top=$pod ;;
both) echo "${limit}M" >"$pod/memory.max" ;;
esac
echo "${limit}M" >"$top/memory.max"
[ "$owner" = both ] && echo "${limit}M" >"$box/memory.max" && top=$pod
[ -n "$high" ] && echo "${high}M" >"$top/memory.high"
echo "$group" >"$box/memory.oom.group"
cp /payload/workload /data/bin/
sync
echo 3 >/proc/sys/vm/drop_caches
dmesg -c >/dev/null

[ -e /run/peers/log ] && : >/run/peers/log
count=0
for step; do
	case $step in [a-z]*=*)
		dd if=/dev/zero of=$lab/p$count bs=16 count=1 2>/dev/null
		count=$((count + 1))
		;;
	esac
done
counters=$(ls $lab/p* 2>/dev/null)
say "case $name kernel=$KVER lru_gen=$(cat /sys/kernel/mm/lru_gen/enabled) limit=$limit high=$high owner=$owner group=$group kind=$kind tool=$tool"
# shellcheck disable=SC2086 # a list of files
/payload/sampler "$top" "$out/trace.jsonl" "$name" $counters &
helpers=$!
if [ "$top" != "$box" ]; then
	# shellcheck disable=SC2086
	/payload/sampler "$box" "$out/container.jsonl" "$name" $counters &
	helpers="$helpers $!"
fi

tool_pid=
stat_tool() { # what the tool costs: private KiB, context switches, CPU ticks
	[ -n "$tool_pid" ] && [ -e /proc/$tool_pid/smaps_rollup ] || return
	private=$(sed -n 's/^Private_\(Clean\|Dirty\): *\([0-9]*\) kB/\2/p' /proc/$tool_pid/smaps_rollup | awk '{ s += $1 } END { print s }')
	switches=$(sed -n 's/.*ctxt_switches:[^0-9]*//p' /proc/$tool_pid/status | awk '{ s += $1 } END { print s }')
	ticks=$(awk '{ print $14 + $15 }' /proc/$tool_pid/stat)
	say "tool $1 private_kib=$private switches=$switches ticks=$ticks"
}
case $tool in stella*)
	dry=
	[ "$tool" = stella-dry ] && dry=--dry-run
	sh -c 'echo $$ >/sys/fs/cgroup/tools/cgroup.procs; exec /payload/stella-watchdog run --cgroup '"${box#/sys/fs/cgroup} $dry --evidence $out/evidence.jsonl --metrics $out/metrics.prom" \
		>"$out/stella.log" 2>&1 &
	tool_pid=$!
	sleep 1
	stat_tool start
	;;
esac
# start INDEX ROLE WORDS: in the container; its end is logged from outside
watched=
start() {
	options=${3%% -- *}
	command=
	[ "$options" != "$3" ] && command=${3#* -- }
	say "start $1 $2 $3"
	(
		sh -c 'echo $$ >'"$box"'/cgroup.procs; echo "proc '"$1 $2"' $$" >>'"$out"'/log
			exec /data/bin/workload '"$options"' progress='"$lab/p$1"' -- "$1"' sh "$command"
		say "end $1 $2 $?"
		: >"$lab/ended.$1"
	) >>"$out/job.log" 2>&1 &
	case $2 in
	hog | job) watched="$watched $1" ;;
	esac
}
all_ready() {
	i=0
	while [ $i -lt $next ]; do
		[ -e "$lab/ended.$i" ] || [ "$(od -An -tu1 -j8 -N1 $lab/p$i | tr -d ' ')" = 1 ] || return 1
		i=$((i + 1))
	done
}
next=0
for step; do
	case $step in
	ready)
		n=0
		until all_ready || [ $n -ge 240 ]; do
			sleep 0.5
			n=$((n + 1))
		done
		say ready
		;;
	sleep\ *) sleep "${step#sleep }" ;;
	set\ *)
		step=${step#set }
		say "set $step"
		echo "${step#* }" >"$top/${step%% *}"
		;;
	volume\ *)
		mkdir -p "${step#volume }"
		mount -t tmpfs -o size=100% tmpfs "${step#volume }"
		;;
	*)
		start $next "${step%%=*}" "${step#*=}"
		next=$((next + 1))
		;;
	esac
done
say started

events() { # at_limit: how often the owner's limit was met
	at_limit=0
	while read -r k v; do
		case $k in max | high) at_limit=$((at_limit + v)) ;; esac
	done <"$top/memory.events"
}
left() { # are there hogs or jobs left?
	for i in $watched; do [ -e "$lab/ended.$i" ] || return 0; done
	return 1
}
n=0 at=0 reason=time
while :; do
	events
	[ $at = 0 ] && [ "$at_limit" -gt 0 ] && at=$n && say "limit"
	if ! left; then
		reason=ended
		[ "$kind" = end ] && sleep 5 # who else dies, and does the agent recover?
		break
	fi
	if [ "$kind" = end ]; then
		[ $at = 0 ] && [ $n -ge 480 ] && reason=below && break
		[ $at != 0 ] && [ $((n - at)) -ge $((dur * 2)) ] && break
	elif [ $n -ge $((dur * 2)) ]; then
		break
	fi
	sleep 0.5
	n=$((n + 1))
done
say "stop $reason"
stat_tool end
[ -e /run/peers/log ] && cp /run/peers/log "$out/peers.log" && cp /run/peers/out "$out/peers.out"
say "load $(cut -d' ' -f1-3 /proc/loadavg)"
say "events $(tr '\n' ' ' <"$top/memory.events")"
[ -n "$tool_pid" ] && kill $tool_pid 2>/dev/null
for p in $helpers; do kill "$p" 2>/dev/null; done
echo 1 >"$box/cgroup.kill"
sleep 0.5
dmesg | grep -E 'oom-kill:|Killed process' | cut -c1-240 | while read -r line; do echo "dmesg $line" >>"$out/log"; done
[ -e /run/systemd/system ] && {
	journalctl -b --no-pager -o short-monotonic -u systemd-oomd | grep -v Start >"$out/oomd.log"
	systemctl stop "job-$name"
}
umount /data/volume 2>/dev/null
for d in /data/*; do
	case $d in /data/big | /data/bin | /data/lost+found) ;; *) rm -rf "$d" ;; esac
done
n=0
until rmdir "$box" 2>/dev/null || [ $n -gt 40 ]; do
	sleep 0.25
	n=$((n + 1))
done
[ -e /run/systemd/system ] || rmdir $pod /sys/fs/cgroup/lab
echo 3 >/proc/sys/vm/drop_caches
tar -cf "$OUT_PORT" -C /out "$name"
rm -rf "$out"
echo "$name: $reason"
