#!/bin/sh
# A thousand idle cgroups with a limit, each with a process of its own, on a real kernel: what watching them costs, and that the one
# that hangs in the end is found among them.
#
#     tests/vm/idle.sh [KERNEL] [N]     6.1 or 6.12 (default 6.12), cgroups (default 1000); about five minutes
#
# TAP on standard output, the figures in its lines. Goals: docs/WATCHDOG-BENCHMARK.md, "Cost".
set -eu
kernel=${1:-6.12}
cgroups=${2:-1000}
here=$(dirname "$0")
# shellcheck source=tests/vm/guest.sh
. "$here/guest.sh"
# shellcheck disable=SC2016
"$here/vm" run --kernel "$kernel" --mem 2048 --disk 1024 --big 64 --throttle gp3 --timeout 1800 --out "$out" -- \
	"$build/stella-watchdog" "$build/vm-bin/workload" "$here/hang.sh" "n=$cgroups"'
	cost() { # of the watchdog and of the aide that writes for it: private KiB, context switches, descriptors
		private=0 switches=0
		for p in $watchdog $(cat /proc/$watchdog/task/$watchdog/children); do
			private=$((private + $(awk "/^Private_(Clean|Dirty):/ { s += \$2 } END { print s }" /proc/$p/smaps_rollup)))
			switches=$((switches + $(awk "/ctxt_switches/ { s += \$2 } END { print s }" /proc/$p/status)))
		done
		fds=$(ls /proc/$watchdog/fd | wc -l)
	}
	watch() { # options
		./stella-watchdog run "$@" --evidence /out/evidence.jsonl 2>>/out/log & watchdog=$!
		sleep 1
	}
	ulimit -n 8192
	mkdir /sys/fs/cgroup/one /sys/fs/cgroup/fleet
	echo 64M >/sys/fs/cgroup/one/memory.max
	echo +memory >/sys/fs/cgroup/fleet/cgroup.subtree_control
	watch --match one; sleep 8; cost; one=$private one_fds=$fds
	kill $watchdog; wait $watchdog
	i=0
	while [ $i -lt $n ]; do
		g=/sys/fs/cgroup/fleet/job$i; mkdir $g; echo 80M >$g/memory.max
		sleep 100000 & echo $! >$g/cgroup.procs
		i=$((i + 1))
	done
	watch --match "fleet/*"
	before=-1; cost
	while [ $switches != $before ]; do before=$switches; sleep 5; cost; done # until it has seen them all
	sleep 60; cost
	echo "one private_kib=$one fds=$one_fds" >/out/results
	echo "all private_kib=$private fds=$fds switches=$((switches - before))" >>/out/results
	g=/sys/fs/cgroup/fleet/job$((n / 2))
	sh -c "echo \$\$ >$g/cgroup.procs; exec sh /payload/hang.sh" >/dev/null 2>&1 &
	for i in $(seq 60); do sleep 1; grep -q "\"kind\":\"action\"" /out/evidence.jsonl && break; done
	sleep 5; cost
	echo "hang left: $(for p in $(cat $g/cgroup.procs); do cat /proc/$p/comm; done | sort | tr "\n" " ")" >>/out/results
	echo "armed private_kib=$private" >>/out/results
	kill $watchdog' >"$out/vm.log" 2>&1 || sed 's/^/# /' "$out/vm.log"
[ -s "$out/results" ] && sed 's/^/# /' "$out/results"
field() { sed -n "s/^$1 .*$2=\(-\{0,1\}[0-9]*\).*/\1/p" "$out/results" 2>/dev/null; }
one=$(field one private_kib) all=$(field all private_kib) fds=$(($(field all fds) - $(field one fds)))
n=0
check() { # name, condition
	n=$((n + 1))
	if [ "$2" ]; then echo "ok $n - $kernel, $1"; else echo "not ok $n - $kernel, $1"; fi
}
check "one idle cgroup: ${one:-?} KiB private, at most 1024" "$([ "${one:-9999}" -le 1024 ] && echo y)"
check "$cgroups of them: $((${all:-0} - ${one:-0})) KiB more, at most 2048" "$([ -n "$all" ] && [ $((all - one)) -le 2048 ] && echo y)"
check "$cgroups of them: $fds descriptors more, at most two each" "$([ $fds -gt "$cgroups" ] && [ $fds -le $((2 * cgroups)) ] && echo y)"
check "60 idle seconds: $(field all switches) context switches" "$([ "$(field all switches)" = 0 ] && echo y)"
check "the one that hangs is found, and only its hog ends" "$(grep '^hang left: ' "$out/results" 2>/dev/null | grep -v node | grep -q Runner.Worker && echo y)"
if ! grep -q '^hang left: .*Runner' "$out/results" 2>/dev/null; then sed 's/^/# /' "$out/log" "$out/vm.log"; fi
echo "1..$n"
