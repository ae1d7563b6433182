"""A local destination: what survives a power cut, mounts, and the SHA-256 that only the file itself keeps."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_nxcloud.exceptions import NxCloudMediaRefusedError, NxCloudStorageError
from airflow_provider_nxcloud.storage.local import LocalStorage

CONTENT = os.urandom(600_000)


def publish(storage: LocalStorage, name: str, content: bytes = CONTENT) -> None:
    staged = storage.stage()
    staged.write(content)
    storage.publish(name, staged)


@pytest.fixture
def storage(tmp_path: Path):
    with LocalStorage(tmp_path / "out") as storage:
        yield storage


@pytest.fixture
def disk(monkeypatch):
    """The calls that decide what is there after a power cut, in order."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        size = os.fstat(descriptor).st_size if kind == "file" else 0
        calls.append(f"sync {kind} {size or os.path.basename(path)}")
        fsync(descriptor)

    def recorded_replace(source: str, target: str) -> None:
        calls.append(f"rename {os.path.basename(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return calls


@pytest.mark.parametrize("size", [10, 600_000])
def test_file_is_synced_before_its_rename_and_its_folder_after_it(storage, disk, size):
    publish(storage, "photo.jpg", CONTENT[:size])

    assert disk == [f"sync file {size}", "rename photo.jpg", "sync folder out"]


def test_folders_that_had_to_be_made_are_synced_into_their_parents(storage, disk):
    publish(storage, "2026/11/photo.jpg")

    assert disk == [
        "sync folder out",
        "sync folder 2026",
        "sync file 600000",
        "rename photo.jpg",
        "sync folder 11",
    ]


@pytest.mark.parametrize(
    ("call", "error"), [("open", errno.EACCES), ("fsync", errno.EINVAL), ("fsync", errno.ENOTSUP)]
)
def test_folder_that_may_not_or_cannot_be_synced_takes_files(call, error, storage, monkeypatch):
    original = getattr(os, call)

    def refuse_folders(path, *arguments):
        if os.path.isdir(path if call == "open" else f"/proc/self/fd/{path}"):
            raise OSError(error, os.strerror(error))
        return original(path, *arguments)

    monkeypatch.setattr(os, call, refuse_folders)
    publish(storage, "photo.jpg")
    assert storage.find("photo.jpg").size == len(CONTENT)


def test_disk_that_fails_to_sync_is_an_error(storage, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(NxCloudStorageError, match="Input/output error"):
        publish(storage, "photo.jpg")
    assert storage.find("photo.jpg") is None


def test_sha256_is_read_only_where_it_is_asked_for(storage):
    publish(storage, "photo.jpg")

    assert storage.find("photo.jpg") == (len(CONTENT), None)
    assert storage.find("photo.jpg", read=True) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert storage.find("missing.jpg", read=True) is None


@pytest.fixture
def mount(storage, tmp_path: Path):
    """A folder of the destination on another file system."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm on a file system of its own")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        (tmp_path / "out" / "images").symlink_to(folder)
        yield Path(folder)


def test_folder_on_another_file_system_gets_whole_files(storage, mount, disk):
    publish(storage, "images/a.jpg")
    publish(storage, "images/b.jpg", b"small")

    assert (mount / "a.jpg").read_bytes() == CONTENT
    assert (mount / "b.jpg").read_bytes() == b"small"
    assert list(storage.staging.iterdir()) == []
    renames = [number for number, call in enumerate(disk) if call == "rename a.jpg"]
    # The first was refused; what is renamed then is the synced copy beside the file.
    assert disk[renames[1] - 1] == "sync file 600000"
    assert disk[renames[1] + 1].startswith("sync folder")
    storage.__exit__()
    assert sorted(path.name for path in mount.iterdir()) == ["a.jpg", "b.jpg"]


def test_mount_without_rename_is_named(storage, monkeypatch):
    def refuse(source: str, target: str) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(
        NxCloudStorageError, match=r"^OSError: Function not implemented; publishing needs rename"
    ):
        publish(storage, "photo.jpg")


@pytest.fixture
def folding(monkeypatch):
    """A disk that folds case and keeps it, as those of macOS and Windows do."""

    scandir = os.scandir

    def found(path):
        if isinstance(path, int) or not os.path.basename(path):
            return path
        folder, name = found(os.path.dirname(path)), os.path.basename(path)
        try:
            names = [entry.name for entry in scandir(folder)]
        except OSError:
            names = []
        return os.path.join(folder, next((each for each in names if each.lower() == name.lower()), name))

    def fold(name: str) -> None:
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *paths, **options: original(*map(found, paths), **options))

    for name in ("stat", "lstat", "mkdir", "listdir"):
        fold(name)
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: replace(source, found(target)))


@pytest.fixture
def folding_mount(tmp_path: Path):
    """A real file system that folds case and keeps it."""
    tools = [shutil.which(tool) for tool in ("losetup", "mkfs.exfat", "mount.exfat-fuse", "umount")]
    if not all(tools) or os.geteuid():
        pytest.skip("needs root, exfatprogs and exfat-fuse")
    losetup, mkfs, mount, umount = tools
    image, folder = tmp_path / "exfat.img", tmp_path / "exfat"
    image.touch()
    os.truncate(image, 16 * 1024 * 1024)
    folder.mkdir()
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    device = run([losetup, "--find", "--show", image]).stdout.strip()
    try:
        run([mkfs, device])
        run([mount, device, folder])
        yield folder
        run([umount, folder])
    finally:
        run([losetup, "--detach", device])


CASE = "a file with this name in other letter case exists"
FOLDER = (
    "^this object name is a folder, or one of its parent folders is a file; choose another object_name or "
)


def check_that_no_two_share_a_file(root: Path) -> None:
    with LocalStorage(root) as storage:
        publish(storage, "in/AbC.jpg", b"first")
        publish(storage, "in/other.jpg", b"other")
        for name in ("in/abc.jpg", "IN/AbC.jpg"):
            with pytest.raises(NxCloudMediaRefusedError, match=f"^{CASE}.*; choose another .*{name}"):
                storage.find(name)
            with pytest.raises(NxCloudMediaRefusedError, match=f"^{CASE}.*; choose another .*{name}"):
                publish(storage, name, b"second")

    with LocalStorage(root) as later:
        assert later.find("in/AbC.jpg").size == 5
        with pytest.raises(NxCloudMediaRefusedError):
            later.find("in/aBC.jpg")
        publish(later, "in/AbC.jpg", b"anew")
    assert {path.name: path.read_bytes() for path in (root / "in").iterdir()} == {
        "AbC.jpg": b"anew",
        "other.jpg": b"other",
    }


def test_folder_that_folds_case_never_gives_two_files_one_name(folding, tmp_path):
    check_that_no_two_share_a_file(tmp_path / "out")


@pytest.mark.slow
def test_disk_that_folds_case_never_gives_two_files_one_name(folding_mount):
    check_that_no_two_share_a_file(folding_mount / "out")


def test_folder_that_tells_cases_apart_takes_both(storage):
    publish(storage, "AbC.jpg", b"first")
    publish(storage, "abc.jpg", b"second")

    assert (storage.find("AbC.jpg").size, storage.find("abc.jpg").size) == (5, 6)
    publish(storage, "ABC.JPG", b"third")
    assert storage.find("ABC.JPG").size == 5


def test_file_in_place_of_a_folder_is_an_error_of_that_media_file_alone(storage):
    publish(storage, "README")
    for name in ("README/a.jpg", "README/deep/a.jpg"):
        with pytest.raises(NxCloudMediaRefusedError, match=FOLDER):
            storage.find(name)
        with pytest.raises(NxCloudMediaRefusedError, match=FOLDER):
            publish(storage, name)


def test_file_that_cannot_be_looked_up_is_named(storage, tmp_path):
    loop = tmp_path / "out" / "a.jpg"
    loop.symlink_to(loop)
    text = r"^OSError: Too many levels.* \(cannot look for 'file://.*/a\.jpg'\)$"
    with pytest.raises(NxCloudStorageError, match=text):
        storage.find("a.jpg")
