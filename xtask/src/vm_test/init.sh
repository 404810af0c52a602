#!/bin/busybox sh
# First process of the virtual machine: profiles a ship as a user does, and leaves what was said on
# the second disk, as a tar archive.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tracefs none /sys/kernel/tracing
mount -t securityfs none /sys/kernel/security
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /dev/shm
mount -t tmpfs none /dev/shm
mount -t tmpfs none /tmp
mount -t tmpfs none /results
ip link set lo up
# Two looms of 2 GiB, reserved and hardly used, are more than the machine has.
echo 1 > /proc/sys/vm/overcommit_memory
modprobe virtio_pci
modprobe virtio_blk
mount -t ext4 /dev/vda /pier

cd /results
profile doctor --format json > doctor.json
# Slowly: the machine is emulated.
reference-ship --events-per-second 10 --compute-us 2000 --dirty-pages 2 --heap-pages 64 \
    --truth /dev/shm/truth -p 34543 /pier/zod > ship.log 2>&1 &
waited=0
until grep -q '"event":"ready"' ship.log || [ $waited -ge 120 ]; do
    sleep 1
    waited=$((waited + 1))
done
reference-ship peer --port 34543 --packets-per-second 20 --bytes 1000 --seconds 600 > peer.log 2>&1 &
# The kernel hands what it does not know itself on its command line to us as variables.
profile --ship /pier/zod --seconds "$profile_seconds" -o output > report.txt 2> progress.log
echo $? > status
profile sampler --ship /pier/zod --interval 10 --once --store /tmp/ships.db > sampler.log 2>&1
profile history --store /tmp/ships.db --format json > history.json 2>> sampler.log
dmesg > dmesg.log
tar -c -f /dev/vdb .
sync
poweroff -f
