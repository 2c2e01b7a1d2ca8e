#!/bin/sh
# shellcheck shell=dash disable=SC2086,SC2013 # names without blanks, and lists of words
# deployed_guest.sh NAME UID:CAPABILITIES pod|both COMMAND - a pod whose step hangs at 80 MiB, beside a watchdog that is started by
# COMMAND with these rights and no others; inside the guest (tests/vm/deployed.py reads what it leaves in /out/NAME).
# pod: the limit is the container's and the watchdog is a pod of its own; both: the pod's and the container's, the watchdog is a
# container of that pod.
name=$1 uid=${2%%:*} caps=${2#*:} limits=$3 command=$4
out=/out/$name
mkdir -p "$out"
chmod 777 "$out" /data
export POD_UID=0f8b6f2a-0000-4000-8000-00000000$$
slice=/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice
pod=$slice/kubepods-burstable-pod$(echo $POD_UID | tr - _).slice
box=$pod/cri-containerd-runner.scope
mkdir -p $slice
for d in /sys/fs/cgroup/kubepods.slice $slice; do echo '+cpu +io +memory +pids' >$d/cgroup.subtree_control; done
mkdir $pod
echo '+cpu +io +memory +pids' >$pod/cgroup.subtree_control
mkdir $box
echo 80M >$box/memory.max
own=$slice/kubepods-burstable-podwatchdog.slice/watchdog.scope
if [ "$limits" = both ]; then
	own=$pod/cri-containerd-watchdog.scope
	echo 112M >$pod/memory.max
else
	mkdir -p "${own%/*}"
	echo '+memory' >"${own%/*}/cgroup.subtree_control"
fi
mkdir -p $own
echo 32M >$own/memory.max

echo 3 >/proc/sys/vm/drop_caches # what an earlier cgroup was charged for is not this one's
cp /payload/stella-watchdog /debian/usr/bin/
if ! grep -q /debian/host/cgroup /proc/mounts; then
	mkdir -p /debian/host/cgroup
	mount --bind /sys/fs/cgroup /debian/host/cgroup
	mount -o remount,bind,ro /debian/host/cgroup
fi
user="--reuid $uid --regid $uid --clear-groups"
drop="--inh-caps -all --ambient-caps -all --bounding-set -all${caps:+,$caps}"
[ "$uid" = 0 ] && user="--clear-groups"
sh -c 'echo $$ >'"$own"'/cgroup.procs; exec "$@"' sh chroot /debian /usr/bin/setpriv $user $drop --no-new-privs /bin/bash -c "$command" \
	>"$out/evidence" 2>"$out/log" &
watchdog=$!
sleep 2
# the step's own standard output is a pipe of the runner's user, that the runner reads
sh -c 'echo $$ >'"$box"'/cgroup.procs; export GITHUB_ACTIONS=true GITHUB_RUN_ID=77 GITHUB_REPOSITORY=a/b
	exec chroot /debian /usr/bin/setpriv --reuid 1001 --regid 1001 --clear-groups /bin/sh -c "/bin/sh /payload/hang.sh 2>/dev/null | /bin/cat >$1"' \
	sh "$out/step" &
hog=
n=0
while [ $n -lt 50 ]; do
	sleep 1
	now=$(for p in $(cat $box/cgroup.procs); do cat /proc/$p/comm 2>/dev/null; done)
	case $now in *node*) hog=1 ;; *) [ -z "$hog" ] || break ;; esac
	n=$((n + 1))
done
sleep 3
for p in $(cat $box/cgroup.procs); do cat /proc/$p/comm; done >"$out/left" 2>/dev/null
kill $watchdog
echo 1 >$pod/cgroup.kill
rm -f /data/mapped
sleep 1
rmdir $box $own "${own%/*}" $pod 2>/dev/null
:
