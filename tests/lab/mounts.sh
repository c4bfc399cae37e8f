# mounts.sh - the servers, the second client and every mount of the lab; sourced by inside.sh.
#
# lab_mounts lists what there is; lab_mount NAME DIR mounts one of them, on either client. What the
# servers export is one ext4 (LAB/export), so each mount can also be looked at from the server's side.
# Functions that may wait for somebody are called through lab_try, which gives them a time limit.

LAB_SERVER=10.77.0.1

# lab_try SECONDS FUNCTION WORDS...: in a shell of its own, because only a process can be stopped.
# lab_try2: the same on client 2.
export lab_alone='. "$LAB_WORK/bin/mounts.sh" && "$@"'
lab_try() {
  seconds=$1
  shift
  timeout -k 5 "$seconds" sh -c "$lab_alone" lab "$@" </dev/null
}
lab_try2() {
  seconds=$1
  shift
  lab_on2 timeout -k 5 "$seconds" sh -c "$lab_alone" lab "$@" </dev/null
}

load() { /run/modprobe -q "$@"; }

# NAME, what holdfast should say of it (class and rule), and how many clients have it.
lab_mounts() {
  cat <<'END'
ext4        local    wal-ok            1
xfs         local    wal-ok            1
btrfs       local    wal-ok            1
overlay     local    wal-ok            1
tmpfs       memory   wal-ok            1
hostfs      vm-share rollback-one-host 1
nfs3nolock  network  rollback-one-host 1
smbnobrl    network  rollback-one-host 1
9p          network  rollback-one-host 1
fuse        fuse     rollback-one-host 1
mergerfs    fuse     wal-ok            1
sshfs       network  rollback-one-host 1
nfs4        network  rollback-only     2
nfs40       network  rollback-only     2
nfs3        network  rollback-only     2
smb         network  rollback-only     2
END
}

# Where the files of mount NAME are without the mount: at the server, or in the folder below.
lab_server_dir() {
  case $1 in
  ext4 | xfs | btrfs | overlay | tmpfs) echo "$LAB/m/$1" ;;
  hostfs) echo "$LAB_WORK/hostfs" ;;
  *) echo "$LAB/export/$1" ;;
  esac
}

# No resolver: statd and mountd would wait for name servers that are not there.
lab_network() {
  mkdir -p "$LAB/m" "$LAB/export" "$LAB/none"
  printf 'hosts: files\n' >"$LAB/none/nsswitch"
  printf '127.0.0.1 localhost\n10.77.0.1 lab1\n10.77.0.2 lab2\n' >"$LAB/none/hosts"
  : >"$LAB/none/resolv"
  for file in nsswitch:nsswitch.conf hosts:hosts resolv:resolv.conf; do
    [ ! -e "/etc/${file#*:}" ] || mount --bind "$LAB/none/${file%%:*}" "/etc/${file#*:}"
  done
  hostname lab1
  ip link set lo up
  lab_disk export ext4 160
  chmod 777 "$LAB/export"
}

# lab_disk NAME TYPE MIB: a file system of its own on LAB/NAME. The file is sparse, on tmpfs.
lab_disk() {
  mkdir -p "$LAB/$1"
  load loop
  truncate -s "$3M" "$LAB/$1.img" && "mkfs.$2" -q "$LAB/$1.img" >/dev/null && mount -t "$2" -o loop "$LAB/$1.img" "$LAB/$1"
}

# Client 2 is a process with a network, a host name and mounts of its own, joined by a cable to the
# server, so that the kernel's NFS and SMB clients keep caches, locks and sessions of their own for it.
lab_client2() {
  load veth
  ip link add cable1 type veth peer name cable2 && ip addr add $LAB_SERVER/24 dev cable1 && ip link set cable1 up || return
  mkfifo "$LAB/c2up" || return
  unshare -m -n -u sh -c '
    mount --make-rprivate / && hostname lab2 && mount -t tmpfs none /run && mount -t tmpfs none "$LAB/m" || exit
    [ ! -d /var/lib/nfs ] || mount -t tmpfs none /var/lib/nfs
    : >"$LAB/c2up"
    exec sleep 100000' &
  export LAB_CLIENT2=$!
  timeout 20 cat "$LAB/c2up" && ip link set cable2 netns $LAB_CLIENT2 || return
  lab_on2 sh -c 'ip link set lo up && ip addr add 10.77.0.2/24 dev cable2 && ip link set cable2 up'
}
lab_on2() { nsenter -t "$LAB_CLIENT2" -n -u -m "$@"; }

# NFSv3 locks need statd beside each client; statd and mountd need rpcbind.
lab_rpc() {
  mkdir -p /var/lib/nfs/sm /var/lib/nfs/sm.bak /var/lib/nfs/v4recovery /var/lib/nfs/rpc_pipefs &&
    touch /var/lib/nfs/etab /var/lib/nfs/rmtab /var/lib/nfs/state && rpcbind && rpc.statd --no-notify
}

# Both grace periods, nfsd's and lockd's, are cut short: nobody has a lock to reclaim in a new kernel.
lab_nfs_server() {
  load lockd nlm_grace_period=1
  load nfsd && mount -t nfsd nfsd /proc/fs/nfsd && lab_rpc || return
  exportfs -o rw,sync,no_root_squash,insecure,fsid=0,no_subtree_check "10.77.0.0/24:$LAB/export" || return
  rpc.mountd && rpc.nfsd -G 10 -L 10 4 && echo Y >/proc/fs/nfsd/v4_end_grace
}

# lab_delay TIME: of everything that client 2 sends to the server; 0 takes it away
lab_delay() {
  load sch_netem
  lab_on2 tc qdisc replace dev cable2 root netem delay "$1"
}

# lab_outage cut|join|restart|restart-smb: the cable of client 2, the NFS server, Samba. Called by outages.c, too.
lab_outage() {
  case $1 in
  cut) lab_on2 ip link set cable2 down ;;
  join) lab_on2 ip link set cable2 up ;;
  restart-smb)
    # shellcheck disable=SC2046 # numbers
    kill -9 $(pidof smbd) && smbd -D -s "$LAB/samba/smb.conf" </dev/null >/dev/null 2>&1 && lab_wait_port 445
    ;;
  restart) rpc.nfsd 0 && rpc.nfsd -G 10 -L 10 4 ;;
  *) return 1 ;;
  esac
}

lab_smb_server() {
  dir=$LAB/samba
  mkdir -p "$dir/private" && chmod 755 "$dir" && cat >"$dir/smb.conf" <<END && smbd -D -s "$dir/smb.conf" || return
[global]
 server role = standalone
 private dir = $dir/private
 state directory = $dir
 lock directory = $dir
 cache directory = $dir
 pid directory = $dir
 ncalrpc dir = $dir/ncalrpc
 log file = $dir/log
 map to guest = Bad User
 guest account = root
 interfaces = $LAB_SERVER
 bind interfaces only = yes
 smb ports = 445
${LAB_SMB_GLOBAL:-}
 disable netbios = yes
 load printers = no
[lab]
 path = $LAB/export
 guest ok = yes
 read only = no
 force user = root
${LAB_SMB_SHARE:-}
END
  load cifs
  lab_wait_port 445
}

# smbd and diod say nothing when they listen, so their port is asked, at most 100 times.
lab_wait_port() {
  port=$(printf '%04X' "$1") tries=0
  until grep -q ":$port [0-9A-F:]* 0A" /proc/net/tcp; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || return
    sleep 0.1
  done
}

lab_9p_server() { diod -f -n -l "$LAB_SERVER:5640" -e "$LAB/export" >"$LAB/diod.log" 2>&1 & lab_wait_port 5640; }

# All servers and the second client. What does not come up is noticed when its mounts fail.
lab_servers() {
  lab_client2
  lab_try 60 lab_nfs_server
  lab_try 60 lab_smb_server
  lab_try 60 lab_9p_server
  lab_try2 60 lab_rpc
}

# lab_mount NAME DIR: returns 0 when it is mounted; what the tools said is in LAB_WORK/inside.log.
lab_mount() {
  name=$1 at=$2 from=$(lab_server_dir "$1")
  mkdir -p "$at"
  case $name in
  ext4) lab_disk m/ext4 ext4 64 ;;
  xfs) lab_disk m/xfs xfs 320 ;;
  btrfs) lab_disk m/btrfs btrfs 128 ;;
  tmpfs) mount -t tmpfs none "$at" ;;
  overlay)
    mkdir -p "$LAB/export/lower" "$LAB/export/upper" "$LAB/export/work"
    load overlay
    mount -t overlay -o "lowerdir=$LAB/export/lower,upperdir=$LAB/export/upper,workdir=$LAB/export/work" overlay "$at"
    ;;
  hostfs) mount -t hostfs -o "$from" none "$at" ;;
  nfs4) mkdir -p "$from" && mount -t nfs4 -o vers=4.2 "$LAB_SERVER:/nfs4" "$at" ;;
  nfs40) mkdir -p "$from" && mount -t nfs4 -o vers=4.0 "$LAB_SERVER:/nfs40" "$at" ;;
  nfs3) mkdir -p "$from" && mount -t nfs -o vers=3 "$LAB_SERVER:$from" "$at" ;;
  nfs3nolock) mkdir -p "$from" && mount -t nfs -o vers=3,nolock "$LAB_SERVER:$from" "$at" ;;
  smb) mkdir -p "$from" && mount -t cifs -o guest,vers=3.1.1 "//$LAB_SERVER/lab/smb" "$at" ;;
  smbnobrl) mkdir -p "$from" && mount -t cifs -o guest,vers=3.1.1,nobrl,nosharesock "//$LAB_SERVER/lab/smbnobrl" "$at" ;;
  9p)
    mkdir -p "$from" && load 9pnet_fd && load 9p
    mount -t 9p -o "trans=tcp,port=5640,version=9p2000.L,uname=root,aname=$from" $LAB_SERVER "$at"
    ;;
  fuse) mkdir -p "$from" && load fuse && bindfs "$from" "$at" ;; # bindfs calls itself just "fuse"
  mergerfs) mkdir -p "$from" && load fuse && mergerfs -o minfreespace=0 "$from" "$at" ;;
  sshfs)
    mkdir -p "$from" && load fuse
    printf '#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n' >"$LAB/sftp" && chmod 755 "$LAB/sftp"
    sshfs -o "ssh_command=$LAB/sftp" "lab1:$from" "$at"
    ;;
  *) return 1 ;;
  esac
}
