#!/bin/sh
# Every rung of the watchdog's ladder on a real kernel, one at a time: the same hang in a fresh cgroup of 80 MiB (tests/vm/hang.sh: a
# Runner.Worker that needs its file, a node that holds 74 MiB), ended by that rung alone. Who dies and who is left?
#
#     tests/vm/rungs.sh [KERNEL]        6.1 or 6.12 (default 6.12); about five minutes
#
# TAP on standard output.
set -eu
kernel=${1:-6.12}
here=$(dirname "$0")
# shellcheck source=tests/vm/guest.sh
. "$here/guest.sh"
# shellcheck disable=SC2016
"$here/vm" run --kernel "$kernel" --mem 1024 --disk 1024 --big 64 --throttle gp3 --timeout 900 --out "$out" -- \
	"$build/stella-watchdog" "$build/vm-bin/workload" "$here/hang.sh" '
	one() { # name, memory.oom.group, options
		name=$1 group=$2; shift 2
		g=/sys/fs/cgroup/$name; mkdir $g; echo 80M >$g/memory.max; echo 0 >$g/memory.swap.max 2>/dev/null; echo $group >$g/memory.oom.group
		echo 3 >/proc/sys/vm/drop_caches # what an earlier cgroup was charged for is not this one'"'"'s
		./stella-watchdog run --cgroup $g --evidence /out/$name.jsonl "$@" 2>/out/$name.log & watchdog=$!
		sleep 1
		sh -c "echo \$\$ >$g/cgroup.procs; exec sh /payload/hang.sh" >/dev/null 2>&1 &
		for i in $(seq 90); do # until node was there and is gone, and a thawed or raised cgroup is as it was
			sleep 1
			now=" $(for p in $(cat $g/cgroup.procs); do cat /proc/$p/comm 2>/dev/null; done | tr "\n" " ")"
			case "$now" in *" node "*) seen=1 ;; *) [ "${seen:-0}" = 0 ] || break ;; esac
		done
		seen=0; sleep 2
		echo "$name left:$now frozen=$(cat $g/cgroup.freeze) max=$(cat $g/memory.max) $(sed -n "s/^oom_kill /oom_kill=/p" $g/memory.events) after=${i}s" | tee -a /out/results
		kill $watchdog; wait $watchdog 2>/dev/null; echo 1 >$g/cgroup.kill; sleep 1; rmdir $g
	}
	one culprit 0 --act culprit
	one tree 0 --act tree,-culprit
	one cgroup 0 --act cgroup,-culprit,-tree
	one group 1
	one freeze 0 --act culprit,+relieve --relief freeze
	one raise 0 --act culprit,+relieve --relief raise
	one kernel 0 --act kernel,-culprit,-tree
	one kernel-group 1 --act kernel,-culprit,-tree' >"$out/log" 2>&1 || sed 's/^/# /' "$out/log"
n=0
check() { # name, what must be in its line, what its log must say
	n=$((n + 1))
	ok=ok
	line=$(grep "^$1 " "$out/results" 2>/dev/null || echo "$1: it did not run")
	case "$line" in *"$2"*) ;; *) ok="not ok" ;; esac
	grep -q "$3" "$out/$1.log" 2>/dev/null || ok="not ok"
	echo "$ok $n - $kernel, $line"
	[ "$ok" = ok ] || sed 's/^/# /' "$out/$1.log" || :
}
agent_left=' left: sh Runner.Worker  frozen=0 max=83886080 oom_kill=0'
all_gone=' left:  frozen=0 max=83886080 oom_kill='
check culprit "$agent_left" 'culprit: done: SIGKILL to .* (node)'
check tree "$agent_left" 'tree: done: SIGKILL to .* (node)'
check cgroup "${all_gone}0" 'cgroup: done: cgroup.kill'
check group "$agent_left" 'culprit: done: SIGKILL to .* (node)'
check freeze "$agent_left" 'relieve: done: frozen'
check raise "$agent_left" 'relieve: done: limit raised'
check kernel ' left: sh Runner.Worker  frozen=0 max=83886080 oom_kill=1' 'kernel: done: .*the kernel killed one process'
check kernel-group "$all_gone" 'kernel: done: .*memory.oom.group is 1: all of it goes'
echo "1..$n"
