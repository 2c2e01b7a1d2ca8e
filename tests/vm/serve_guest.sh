#!/bin/sh
# shellcheck shell=dash disable=SC2317 # functions that until_true calls
# stella serve with real cgroups, inside the guest (tests/vm/serve.py reads what it leaves in /out). A fake worker does what
# its image's name says.
export STELLA_HOME=/data/home PATH=/payload:$PATH FAKE_WORKER_TRACE=/out/trace TERM=dumb
svc=/sys/fs/cgroup/svc
up() { read -r now _ </proc/uptime && echo "$now"; }
say() { echo "$(up) $*" >>/out/log; }
until_true() { # until_true SECONDS COMMAND...
	n=$(($1 * 20))
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		usleep 50000
	done
}
serve() { # serve CGROUP: as systemd or a shell would start it there
	sh -c "echo \$\$ >$1/cgroup.procs; exec stella-serve-probe /payload/stella-fake-worker" >>/out/serve.log 2>&1 &
	pid=$!
	until_true 20 stella scanner workers list
	until_true 20 sh -c "stella scanner workers list | grep -q idle"
}
ended() { stella scanner jobs show "$1" | grep -qE '^status: +(completed|failed|cancelled)'; }
run_job() { # run_job NAME STEPS SECONDS: its record to /out/NAME.json
	id=$(stella-serve-probe submit "do:$2")
	say "$1 submitted $id"
	until_true "$3" ended "$id"
	say "$1 ended"
	stella scanner jobs show "$id" --format json >"/out/$1.json"
}

mkdir -p $svc $STELLA_HOME
serve $svc
ls -d $svc/supervisor $svc/workers >/out/tree
cat $svc/workers/cgroup.subtree_control >>/out/tree
stella scanner config set worker.memory_limit 80Mi
stella scanner workers restart
stella scanner workers stats --format json >/out/stats.json

run_job completed subject,progress=3,end=completed 10
run_job oom progress=3,eat=300,end=completed 30
stella scanner logs --filter "out of memory" --format json >/out/oom-logs.json
ls -d $svc/workers/*/ >/out/after-oom 2>/dev/null
run_job hang progress=2,sh=/payload/hang.sh,end=completed 60
stella scanner logs --filter "out of memory" --format json >/out/logs.json
stella scanner workers inspect >/out/inspect

# The runbook's large pool on a host that is too small for it; one more try there after a memory death; then turns.
stella scanner workers add --pool large-images --memory 16Gi --count 2 >/out/add 2>&1
stella scanner config set routing.large_image_pool large-images
until_true 10 sh -c "stella scanner workers list --pool large-images | grep -q idle"
stella scanner workers list --pool large-images --format json >/out/large.json
run_job escalated progress=2,eat=200,end=completed 40
stella scanner config set routing.large_image_threshold 1Gi
three() { for n in 1 2 3; do stella-serve-probe submit "do:sleep=20$n,end=completed"; done; }
ids=$(three)
stella scanner config unset routing.large_image_threshold
ids="$ids $(three)"
for id in $ids; do until_true 30 ended "$id"; done
stella scanner jobs list --limit 6 --format json >/out/turns.json
stella scanner config unset routing.large_image_pool
stella scanner workers remove --pool large-images

killed_supervisor() { # a worker with a child is in work; the lease must run out: half a minute
	id=$(stella-serve-probe submit do:once,child,sleep=600000)
	until_true 10 sh -c "grep -q $id /out/trace"
	cat $svc/workers/default-1/cgroup.procs >/out/procs-before
	cp $svc/workers/default-1/memory.max $svc/workers/default-1/memory.oom.group $svc/workers/default-1/pids.max /out/
	kill -9 $pid
	until_true 5 sh -c "! grep -q 1 $svc/supervisor/cgroup.procs"
	usleep 300000
	cat $svc/supervisor/cgroup.procs >/out/supervisor-procs-after
	say "killed supervisor $pid"
	serve $svc/supervisor # where there are limits below it, $svc takes no process any more
	until_true 60 ended "$id"
	stella scanner jobs show "$id" --format json >/out/resumed.json
	while read -r p; do [ -d "/proc/$p" ] && echo "$p"; done </out/procs-before >/out/procs-left
}
killed_supervisor
kill -TERM $pid
until_true 20 sh -c "! kill -0 $pid"
find $svc -type d >/out/tree-end
cat /sys/fs/cgroup/svc/supervisor/cgroup.procs >/out/procs-end 2>/dev/null
dmesg | grep -ci "memory cgroup out of memory" >/out/kernel-ooms
exit 0
