#!/bin/busybox sh
# shellcheck shell=dash
# First process of the guest (tests/vm/vm puts it into the initramfs): modules, cgroup v2, disks, then the command.
# /lab/env holds what vm was told; /lab/cmd is the command. Three virtio ports lead back: 1 its output, 2 its exit
# status, 3 a tar of /out.
B=/bin/busybox
$B mkdir -p /proc /sys /dev /run /tmp /data /debian /out /etc /usr/bin /usr/sbin /sbin
$B mount -t proc proc /proc
$B mount -t sysfs sysfs /sys
$B mount -t devtmpfs dev /dev
$B --install -s /bin
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
for d in /run /tmp /dev/shm; do mount -t tmpfs tmpfs $d; done
ln -s /proc/self/fd /dev/fd
# shellcheck disable=SC1091 # written by vm
. /lab/env

say() { echo "lab: $*" >/dev/ttyS0; }
wait_for() { # wait_for PATTERN: until it names something, 2 s at most
	n=0
	# shellcheck disable=SC2086 # a pattern
	while ! ls $1 >/dev/null 2>&1 && [ $n -lt 100 ]; do
		usleep 20000
		n=$((n + 1))
	done
}

for m in /mods/*.ko; do
	case $m in *zram* | *zsmalloc* | *lzo* | *lz4*) [ "$SWAP" -gt 0 ] || continue ;; esac
	insmod "$m" || say "module $m failed"
done 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for c in cpuset cpu io memory pids; do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done
ip link set lo up
hostname lab
echo "root:x:0:0:root:/:/bin/sh" >/etc/passwd
echo "root:x:0:" >/etc/group
[ -n "$MGLRU" ] && echo "$MGLRU" >/sys/kernel/mm/lru_gen/enabled
if [ "$SWAP" -gt 0 ]; then
	echo "${SWAP}M" >/sys/block/zram0/disksize
	mkswap /dev/zram0 >/dev/null
	swapon /dev/zram0 || say "no swap"
fi
if [ "$DISK" -gt 0 ]; then
	wait_for /dev/vda
	mount -t ext4 -o noatime /dev/vda /data || say "no /data"
fi
if [ -n "$ROOT" ]; then
	wait_for "$ROOT"
	mount -t ext4 -o noatime "$ROOT" /debian || say "no /debian"
	mkdir -p /debian/data /debian/payload /debian/out /debian/lab
	for d in proc sys dev data payload out; do mount --rbind /$d /debian/$d; done
fi
wait_for '/dev/vport*p3'
port=$(echo /dev/vport*p1)
port=${port%1}
if [ -n "$SYSTEMD" ]; then
	for d in proc sys dev data; do umount -l /debian/$d 2>/dev/null; done
	umount -l /debian/payload /debian/out
	cp -a /lab/. /debian/lab/
	cp -a /payload/. /debian/payload/
	cp -a /bin/busybox /debian/lab/busybox
	[ "$DISK" -gt 0 ] && mount -o move /data /debian/data
	cat >/debian/lab/run <<-E
		cd /payload; export KVER=$(uname -r) HOME=/ PATH=/payload:/usr/sbin:/usr/bin:/sbin:/bin:/lab/bin OUT_PORT=${port}3
		mkdir -p /lab/bin; /lab/busybox --install -s /lab/bin
		sh /lab/cmd >${port}1 2>&1 </dev/null; rc=\$?
		[ -n "\$(ls -A /out)" ] && tar -cf ${port}3 -C /out .
		echo \$rc >${port}2; sync; sleep 0.1; echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger
	E
	cat >/debian/etc/systemd/system/lab.service <<-E
		[Unit]
		After=basic.target dbus.service
		Wants=dbus.service
		[Service]
		Slice=system.slice
		ExecStart=/bin/sh /lab/run
		OOMScoreAdjust=-900
	E
	mkdir -p /debian/etc/systemd/system/multi-user.target.wants
	ln -sf /etc/systemd/system/lab.service /debian/etc/systemd/system/multi-user.target.wants/lab.service
	for u in serial-getty@ttyS0 postgresql earlyoom nohang; do ln -sf /dev/null /debian/etc/systemd/system/$u.service; done
	umount /sys/fs/cgroup
	for d in /proc /sys /dev; do mount -o move $d /debian$d; done
	exec switch_root /debian /lib/systemd/systemd
fi
export PATH=/payload:/bin:/sbin:/usr/bin:/usr/sbin HOME=/ OUT_PORT="${port}3"
KVER=$(uname -r)
export KVER
cd /payload || exit
sh /lab/cmd >"${port}1" 2>&1 </dev/null
rc=$?
[ -n "$(ls -A /out)" ] && tar -cf "${port}3" -C /out .
echo $rc >"${port}2"
sync
usleep 50000
echo 1 >/proc/sys/kernel/sysrq
echo b >/proc/sysrq-trigger
reboot -f
