# inside.sh - process 1 of the lab kernel: makes the machine, mounts, runs one job, halts.
#
# usage: inside.sh JOB WORDS..., with LAB_WORK and LAB_SHIM (empty: stock only) in the environment.
# The root is the host's tree: every folder that a server writes to gets a tmpfs of its own first.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/ LAB=$LAB_WORK/lab
unset LD_PRELOAD

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for dir in /run /var/lib/nfs /var/lib/samba /var/cache/samba /var/log /media "$LAB"; do
  [ ! -d "$dir" ] || mount -t tmpfs none "$dir"
done
mkdir "$LAB/tmp" /run/lock
export TMPDIR=$LAB/tmp

say() { printf '%s\n' "$@" >>"$LAB_WORK/out"; }

# The kernel asks for its modules (crypto for cifs, for one) through this program.
cat >/run/modprobe <<END
#!/bin/sh
exec /sbin/modprobe -d '$LAB_WORK' "\$@"
END
chmod 755 /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe

. "$LAB_WORK/bin/mounts.sh"
. "$LAB_WORK/bin/$1.sh"
job=$1
shift
exec 2>>"$LAB_WORK/inside.log"
set -x
lab_network
"job_$job" "$@"
say "# end"
sync
halt -f
