"""Detect a folder's file system, and warn if SQLite's WAL is not safe on it."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # Linux only
# SQLite's WAL needs shared memory, which these file systems cannot provide across machines.
REMOTE = {
    *("9p", "afs", "ceph", "cifs", "coda", "drvfs", "gfs2", "gpfs", "lustre", "ncpfs", "nfs"),
    *("nfs4", "ocfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
    *("fuse.gcsfuse", "fuse.glusterfs", "fuse.grpcfuse", "fuse.osxfs", "fuse.rclone", "fuse.s3fs"),
    *("fuse.sshfs", "fuse.vmhgfs-fuse"),
}


def kind(folder: Path) -> str:
    """Return the type of the folder's file system, such as ext4 or nfs4, or "" if it is unknown."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    path = folder.resolve()
    points = [(_mount_point(line), _type(line)) for line in mounts]
    depths = [(len(point.parts), name) for point, name in points if path.is_relative_to(point)]
    # use the deepest mount point and, if it has several mounts, the last one
    return max(reversed(depths), key=lambda mount: mount[0], default=(0, ""))[1]


def warning(folder: Path) -> str:
    """Return a warning if this folder's file system is not safe for a store, otherwise ""."""
    if (name := kind(folder)) not in REMOTE:
        return ""
    return (
        f"{folder} is on {name}, a network or virtual file system. SQLite's WAL keeps only programs"
        " of one machine in step: open the store from one machine alone, or use PostgreSQL."
    )


def _mount_point(line: str) -> Path:
    escaped = line.split(" ")[4]
    return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), escaped))


def _type(line: str) -> str:
    return line.rpartition(" - ")[2].split(" ")[0]
