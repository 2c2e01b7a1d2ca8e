#!/bin/sh
# A scan inside a real cgroup of 64 MiB without swap, on a kernel booted for it: does it end, with the same bytes as outside, and
# what did the kernel count? The image is read from a cold disk, so its page cache is charged to the cgroup too.
#
#     tests/vm/cgroup64.sh IMAGE_DIRECTORY [NAME...]        default: small web
#
# TAP on standard output. VM=PROGRAM: boots with that instead of tests/vm/vm (same options).
set -eu
images=$1
shift
[ $# -gt 0 ] || set -- small web
build=${BUILD:-build}
vm=${VM:-$(dirname "$0")/vm}
if ! command -v qemu-system-x86_64 >/dev/null; then
	echo "1..0 # SKIP qemu-system-x86_64 is missing (package qemu-system-x86)"
	exit 0
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
n=0
for name; do
	n=$((n + 1))
	size=$(du -sm "$images/$name" | cut -f1)
	# shellcheck disable=SC2016
	"$vm" run --mem $((size * 2 + 768)) --disk $((size * 2 + 512)) --big 0 --timeout $((280 + size)) --out "$out/$name" -- \
		"$build/stella" "$build/stella-analyze" "$images/$name" '
		name='"$name"'; g=/sys/fs/cgroup/stella
		cp -r $name /data/image; mkdir -p /data/tmp /data/home; sync; echo 3 >/proc/sys/vm/drop_caches
		mkdir $g; echo 64M >$g/memory.max; echo 0 >$g/memory.swap.max 2>/dev/null
		TMPDIR=/data/tmp STELLA_HOME=/data/home
		export TMPDIR STELLA_HOME
		s=$(date +%s)
		(while :; do sed -n "s/^anon //p" $g/memory.stat; usleep 20000; done >/tmp/anon) &
		sampler=$!
		sh -c "echo \$\$ >$g/cgroup.procs; exec ./stella scan image oci:/data/image --local --memory 64Mi --format syft-json -q" >/out/sbom 2>/out/err
		echo "exit $?"; echo "seconds $(($(date +%s) - s))"
		kill $sampler; echo "anon highest $(sort -n /tmp/anon | tail -1)"
		uname -r | sed "s/^/kernel /"
		sed "s/^/memory.peak /" $g/memory.peak; sed "s/^/memory.events /" $g/memory.events
		sed "s/^/memory.swap.peak /" $g/memory.swap.peak 2>/dev/null
		head -c 300 /out/err' >"$out/$name.log" 2>&1 || :
	sed "s/^/# $name: /" "$out/$name.log"
	"$build/stella" scan image "oci:$images/$name" --local --format syft-json -q >"$out/want" || :
	norm() { sed 's#"oci:[^"]*"#"IMAGE"#g' "$1"; }
	norm "$out/want" >"$out/want.n"
	norm "$out/$name/sbom" >"$out/got.n" 2>/dev/null || :
	ok='ok'
	grep -q '^exit 0' "$out/$name.log" && grep -q '^memory.events oom_kill 0' "$out/$name.log" || ok='not ok'
	cmp -s "$out/want.n" "$out/got.n" || {
		ok='not ok'
		diff "$out/want.n" "$out/got.n" | head -c 600 | sed 's/^/# /' || :
	}
	echo "$ok $n - $name in 64 MiB: no kill, same bytes"
done
echo "1..$n"
