# shellcheck shell=dash disable=SC2034,SC2154 # what it sets is for who sources it, who sets $here
# For shell tests that hang a cgroup in a guest (idle.sh, rungs.sh): skips where none can be booted; $build with the lab's programs, $out.
build=${BUILD:-build}
if ! command -v qemu-system-x86_64 >/dev/null; then
	echo "1..0 # SKIP qemu-system-x86_64 is missing (package qemu-system-x86)"
	exit 0
fi
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here python3 -c 'import cases, sys; cases.build_programs(sys.argv[1])' "$build/vm-bin"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
