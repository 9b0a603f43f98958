"""The kind of file system that a folder is on, and what is wrong with it for SQLite's WAL."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # on Linux; elsewhere nothing is known
# The WAL's index is shared memory: these do not share it between machines, or with their host.
REMOTE = {
    *("9p", "afs", "ceph", "cifs", "coda", "drvfs", "gfs2", "gpfs", "lustre", "ncpfs", "nfs"),
    *("nfs4", "ocfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
    *("fuse.gcsfuse", "fuse.glusterfs", "fuse.grpcfuse", "fuse.osxfs", "fuse.rclone", "fuse.s3fs"),
    *("fuse.sshfs", "fuse.vmhgfs-fuse"),
}


def kind(folder: Path) -> str:
    """The file system's name, such as ext4 or nfs4, or "" where the machine does not tell."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found = [(_mount_point(line), _type(line)) for line in mounts]
    here = folder.resolve()
    # the deepest mount point counts, and of several on one the last
    on = [(len(point.parts), name) for point, name in found if here.is_relative_to(point)]
    return max(reversed(on), key=lambda mount: mount[0], default=(0, ""))[1]


def warning(folder: Path) -> str:
    """Why a store in this folder may not be safe, or ""."""
    if (name := kind(folder)) not in REMOTE:
        return ""
    return (
        f"{folder} is on {name}, a network or virtual file system. SQLite's WAL keeps only programs"
        " of one machine in step: open the store from one machine alone, or use PostgreSQL."
    )


def _mount_point(line: str) -> Path:
    escaped = line.split(" ")[4]
    return Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), escaped))


def _type(line: str) -> str:
    return line.rpartition(" - ")[2].split(" ")[0]
