#!/bin/sh
# What hangs at a limit of 80 MiB (case check-hang of tests/vm/cases.list), as the processes of one job.
dd if=/dev/zero of=/data/mapped bs=1M count=1 2>/dev/null
/payload/workload mapper comm=Runner.Worker size=32 threads=4 pause_us=10000 batch=64 &
sleep 4
/payload/workload hog comm=node max=74 retouch=0 &
wait
