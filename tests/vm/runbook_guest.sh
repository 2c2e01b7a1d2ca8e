#!/bin/sh
# shellcheck shell=dash
# The scanner-oom runbook, typed by a person on call, inside the guest (tests/vm/runbook.py reads what it leaves in /out).
# `stella` is the build for tests: with the image "large.tar" its worker takes LEAK more when its first layer is done.
export STELLA_HOME=/data/home PATH=/payload:$PATH TERM=dumb STELLA_TEST_LEAK=large.tar=200Mi
svc=/sys/fs/cgroup/svc image=/data/large.tar
mv /payload/large.tar $image
until_true() { # until_true SECONDS COMMAND...
	n=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		usleep 100000
	done
}
step=0
# type COMMAND: as it stands in the runbook, through the shell; <image-ref> is the image. Its output, its exit code, its time.
type_() {
	step=$((step + 1))
	at=/out/$(printf %02d $step)
	printf '%s\n' "$1" >"$at.command"
	read -r from _ </proc/uptime
	# shellcheck disable=SC3001,SC2001
	sh -c "$(printf '%s' "$1" | sed "s|<image-ref>|$image|")" >"$at.out" 2>"$at.err"
	echo $? >"$at.exit"
	read -r to _ </proc/uptime
	echo "$from $to" >"$at.time"
}
scrape() { wget -q -O "/out/metrics.$1" --header "Authorization: Bearer read-token-0123456789abcdef" http://127.0.0.1:8444/metrics; }

mkdir -p $svc $STELLA_HOME
ifconfig lo up 2>/dev/null || ip link set lo up
umask 077
echo "read prometheus read-token-0123456789abcdef" >/data/tokens
sh -c "echo \$\$ >$svc/cgroup.procs; exec stella serve --listen 127.0.0.1:8444 --tokens /data/tokens" >/out/serve.log 2>&1 &
pid=$!
until_true 30 sh -c "stella scanner workers list | grep -q idle"
# Before the story: a limit that is too small for what the worker takes.
stella scanner config set worker.memory_limit 128Mi 2>/dev/null
stella scanner workers restart 2>/dev/null
scrape before

# Symptoms
type_ 'stella scan image --image <image-ref> --format purls'
scrape after
type_ 'stella scanner workers inspect'
# Diagnosis
type_ 'stella scanner jobs list --status failed --last 1h'
type_ "stella image inspect <image-ref> --format json | jq '.size'"
type_ 'stella scanner config get worker.memory_limit'
type_ 'stella doctor --check check.scanner.memory-usage'
# shellcheck disable=SC2016 # the guest's shell expands it
type_ 'stella scanner jobs show "$(stella scanner jobs list --status failed --format json | jq -r ".[0].id")"'
type_ 'stella scan image --image <image-ref> --profile-memory'
type_ 'stella scanner logs --filter "sbom" --level debug --last 30m'
type_ 'stella image layers <image-ref> --sort-by size'
# Resolution
type_ 'stella scanner config set worker.memory_limit 8Gi'
type_ 'stella scanner workers restart'
type_ 'stella scanner config set sbom.streaming_threshold 1Gi'
type_ 'stella scanner workers restart'
type_ 'stella scan image --image <image-ref> --retry'
type_ 'stella scanner workers add --pool large-images --memory 16Gi --count 2'
type_ 'stella scanner config set routing.large_image_threshold 2Gi'
type_ 'stella scanner config set routing.large_image_pool large-images'
type_ 'stella scanner config set sbom.incremental_mode true'
type_ 'stella scanner config set cache.layer_dedup true'
# Verification
type_ 'stella scan image --image <image-ref>'
type_ 'timeout -s INT 5 stella scanner workers stats --watch'
type_ 'stella scanner workers stats'
type_ 'stella scanner logs --filter "out of memory" --last 1h'
# Beyond it: nothing since the restart; a large image goes to the pool; where the last scan ran.
type_ 'stella scanner logs --filter "out of memory" --since-restart --fail-if-found'
type_ 'stella scanner config set routing.large_image_threshold 1Mi'
type_ 'stella scan image --image <image-ref> --format cyclonedx-json'
type_ 'stella scanner jobs list --format json'
type_ 'stella scan image --image <image-ref> --local --cache off --format cyclonedx-json'
type_ 'stella doctor --quick'
scrape end
kill -TERM $pid
until_true 20 sh -c "! kill -0 $pid"
exit 0
