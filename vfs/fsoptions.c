/*
 * fsoptions.c - the table of mount options that change, or explain, a verdict.
 *
 * Options are matched as whole tokens within the family of the type, never as substrings: "lock" is
 * part of nolock, local_lock and forcemandatorylock, which mean three different things. Rows are facts
 * about one option; policy.c decides which of several counts.
 */
#include "fsnames.h"

static const char no_net_lock[] = "locks are not sent to the server, so they end at this machine";
static const char stale_attr[] = "names and sizes of files may be out of date for longer";
static const char no_wal_cure[] =
    "narrows the time in which attributes are stale, but does not make WAL work";
static const char good_lookup[] = "an absent journal is asked of the server again, also by plain SQLite";
static const char soft_nfs[] = "a call that timed out is given up and may still be carried out later";
static const char plain_9p[] = "this version of 9p grants every lock to everybody, even on one machine";
static const char stale_9p[] = "files are cached with no regard to the other side";
static const char no_map_9p[] = "files cannot be mapped for shared writing";
static const char mapped_9p[] = "maps are of this kernel's copy of the file";
static const char net_9p[] = "the other end is a server in the network";
static const char wsl[] = "a Windows drive in WSL, whose server grants every lock";
static const char barrier[] = "the disk's own cache is not flushed, so a power cut may take commits";
static const char node_locks[] = "locks end at this node";
static const char cluster_locks[] = "locks are shared by all nodes, memory is not known to be";
static const char reconnect[] = "what happens to locks when the connection breaks depends on this";

static const hf_fs_option options[] = {
    /* NFS. Version 4 clears nolock and shows local_lock=none. */
    {HF_FAMILY_NFS, "nolock", NULL, HF_EFFECT_LOCAL_LOCKS, no_net_lock},
    {HF_FAMILY_NFS, "local_lock", "all", HF_EFFECT_LOCAL_LOCKS, no_net_lock},
    {HF_FAMILY_NFS, "local_lock", "posix", HF_EFFECT_LOCAL_LOCKS, no_net_lock},
    {HF_FAMILY_NFS, "local_lock", "flock", HF_EFFECT_NOTE,
     "SQLite's byte-range locks still go to the server"},
    {HF_FAMILY_NFS, "vers", "2*", HF_EFFECT_NOTE, "locks need a second service, the lock manager"},
    {HF_FAMILY_NFS, "vers", "3*", HF_EFFECT_NOTE,
     "locks need a second service; those of a client that died stay until it is seen again"},
    {HF_FAMILY_NFS, "vers", "4*", HF_EFFECT_NOTE,
     "locks are leases: cut off for too long, a client loses them"},
    {HF_FAMILY_NFS, "soft", NULL, HF_EFFECT_NOTE, soft_nfs},
    {HF_FAMILY_NFS, "softerr", NULL, HF_EFFECT_NOTE, soft_nfs},
    {HF_FAMILY_NFS, "noac", NULL, HF_EFFECT_NOTE, no_wal_cure},
    {HF_FAMILY_NFS, "actimeo", "0", HF_EFFECT_NOTE, no_wal_cure},
    {HF_FAMILY_NFS, "sync", NULL, HF_EFFECT_NOTE, no_wal_cure},
    {HF_FAMILY_NFS, "lookupcache", "pos*", HF_EFFECT_NOTE, good_lookup},
    {HF_FAMILY_NFS, "lookupcache", "none", HF_EFFECT_NOTE, good_lookup},
    {HF_FAMILY_NFS, "nocto", NULL, HF_EFFECT_NOTE, stale_attr},
    {HF_FAMILY_NFS, "acdirmax", NULL, HF_EFFECT_NOTE, stale_attr},
    {HF_FAMILY_NFS, "fsc", NULL, HF_EFFECT_NOTE, "pages are also cached on this machine's disk"},

    /* SMB. */
    {HF_FAMILY_CIFS, "nobrl", NULL, HF_EFFECT_LOCAL_LOCKS, no_net_lock},
    {HF_FAMILY_CIFS, "cache", "loose", HF_EFFECT_ONE_HOST,
     "this machine goes on reading what another one has changed"},
    {HF_FAMILY_CIFS, "cache", "ro", HF_EFFECT_ONE_HOST, "this machine believes that nobody writes"},
    {HF_FAMILY_CIFS, "cache", "singleclient", HF_EFFECT_ONE_HOST, "this machine believes that it is alone"},
    {HF_FAMILY_CIFS, "cache", "none", HF_EFFECT_NOTE, "every read asks the server"},
    {HF_FAMILY_CIFS, "nostrictsync", NULL, HF_EFFECT_NOT_DURABLE, "fsync does not reach the server"},
    {HF_FAMILY_CIFS, "forcemand", NULL, HF_EFFECT_NOTE, "locks are mandatory and belong to one handle"},
    {HF_FAMILY_CIFS, "forcemandatorylock", NULL, HF_EFFECT_NOTE,
     "locks are mandatory and belong to one handle"},
    {HF_FAMILY_CIFS, "unix", NULL, HF_EFFECT_NOTE, "with SMB1 only: locks behave as on a local disk"},
    {HF_FAMILY_CIFS, "nounix", NULL, HF_EFFECT_NOTE, "locks are mandatory and belong to one handle"},
    {HF_FAMILY_CIFS, "soft", NULL, HF_EFFECT_NOTE, "a call to a silent server fails instead of waiting"},
    {HF_FAMILY_CIFS, "nohandlecache", NULL, HF_EFFECT_NOTE, reconnect},
    {HF_FAMILY_CIFS, "persistenthandles", NULL, HF_EFFECT_NOTE, reconnect},
    {HF_FAMILY_CIFS, "resilienthandles", NULL, HF_EFFECT_NOTE, reconnect},
    {HF_FAMILY_CIFS, "handletimeout", NULL, HF_EFFECT_NOTE, reconnect},
    {HF_FAMILY_CIFS, "multichannel", NULL, HF_EFFECT_NOTE, reconnect},
    {HF_FAMILY_CIFS, "noserverino", NULL, HF_EFFECT_NOTE, "inode numbers are made up here and may change"},

    /* 9p: version 9p2000.L is the default and not printed; caches are words or bit masks. */
    {HF_FAMILY_9P, "noextend", NULL, HF_EFFECT_FAKE_LOCKS, plain_9p},
    {HF_FAMILY_9P, "version", "9p2000", HF_EFFECT_FAKE_LOCKS, plain_9p},
    {HF_FAMILY_9P, "version", "9p2000.u", HF_EFFECT_FAKE_LOCKS, plain_9p},
    {HF_FAMILY_9P, "cache", "loose", HF_EFFECT_ONE_HOST, stale_9p},
    {HF_FAMILY_9P, "cache", "fscache", HF_EFFECT_ONE_HOST, stale_9p},
    {HF_FAMILY_9P, "cache", "0xf", HF_EFFECT_ONE_HOST, stale_9p},
    {HF_FAMILY_9P, "cache", "0x8f", HF_EFFECT_ONE_HOST, stale_9p},
    {HF_FAMILY_9P, "cache", "none", HF_EFFECT_NOTE, no_map_9p},
    {HF_FAMILY_9P, "cache", "0x0", HF_EFFECT_NOTE, no_map_9p},
    {HF_FAMILY_9P, "cache", "readahead", HF_EFFECT_NOTE, no_map_9p},
    {HF_FAMILY_9P, "cache", "0x1", HF_EFFECT_NOTE, no_map_9p},
    {HF_FAMILY_9P, "cache", "mmap", HF_EFFECT_NOTE, mapped_9p},
    {HF_FAMILY_9P, "cache", "0x5", HF_EFFECT_NOTE, mapped_9p},
    {HF_FAMILY_9P, "directio", NULL, HF_EFFECT_NOTE, no_map_9p},
    {HF_FAMILY_9P, "ignoreqv", NULL, HF_EFFECT_NOTE, "changes that the other side made are not noticed"},
    {HF_FAMILY_9P, "trans", "tcp", HF_EFFECT_NETWORK, net_9p},
    {HF_FAMILY_9P, "trans", "rdma", HF_EFFECT_NETWORK, net_9p},
    {HF_FAMILY_9P, "aname", "drvfs*", HF_EFFECT_ONE_HOST, wsl},

    {HF_FAMILY_VIRTIOFS, "dax", NULL, HF_EFFECT_NOTE,
     "maps are of the host's pages, but there are still two kernels"},

    /* Layers and clusters. */
    {HF_FAMILY_OVERLAY, "volatile", NULL, HF_EFFECT_NOT_DURABLE, "every sync is skipped"},
    {HF_FAMILY_OVERLAY, "fsync", "volatile", HF_EFFECT_NOT_DURABLE, "every sync is skipped"},
    {HF_FAMILY_LUSTRE, "flock", NULL, HF_EFFECT_SERVER_LOCKS, cluster_locks},
    {HF_FAMILY_LUSTRE, "localflock", NULL, HF_EFFECT_LOCAL_LOCKS, node_locks},
    {HF_FAMILY_LUSTRE, "noflock", NULL, HF_EFFECT_NO_LOCKS, "every lock call fails"},
    {HF_FAMILY_GFS2, "localflocks", NULL, HF_EFFECT_LOCAL_LOCKS, node_locks},
    {HF_FAMILY_GFS2, "lockproto", "lock_nolock", HF_EFFECT_LOCAL_LOCKS, node_locks},
    {HF_FAMILY_OCFS2, "localflocks", NULL, HF_EFFECT_LOCAL_LOCKS, node_locks},
    {HF_FAMILY_OCFS2, "cluster_stack", "o2cb", HF_EFFECT_LOCAL_LOCKS, "byte-range locks end at this node"},
    {HF_FAMILY_OCFS2, "cluster_stack", "pcmk", HF_EFFECT_SERVER_LOCKS, cluster_locks},
    {HF_FAMILY_OCFS2, "cluster_stack", "cman", HF_EFFECT_SERVER_LOCKS, cluster_locks},
    {HF_FAMILY_ORANGEFS, "local_lock", NULL, HF_EFFECT_LOCAL_LOCKS, node_locks},
    {HF_FAMILY_AFS, "flock", "openafs", HF_EFFECT_LOCAL_LOCKS, "byte-range locks end at this machine"},
    {HF_FAMILY_AFS, "flock", "local", HF_EFFECT_LOCAL_LOCKS, "all locks end at this machine"},
    {HF_FAMILY_AFS, "flock", "strict", HF_EFFECT_SERVER_LOCKS,
     "locks go to the server, as locks of the whole file"},
    {HF_FAMILY_AFS, "flock", "write", HF_EFFECT_SERVER_LOCKS,
     "locks go to the server, as write locks of the whole file"},

    /* Local disks. */
    {HF_FAMILY_DISK, "nobarrier", NULL, HF_EFFECT_MAY_LOSE, barrier},
    {HF_FAMILY_DISK, "barrier", "0", HF_EFFECT_MAY_LOSE, barrier},
    {HF_FAMILY_DISK, "fsync_mode", "nobarrier", HF_EFFECT_MAY_LOSE, barrier},
    {HF_FAMILY_DISK, "data", "writeback", HF_EFFECT_NOTE,
     "after a crash a file may hold old bytes where it had grown"},
};

const hf_fs_option *hf_fs_option_row(size_t i)
{
  return i < sizeof options / sizeof options[0] ? &options[i] : NULL;
}
