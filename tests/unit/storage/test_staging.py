"""Staged bytes: where they wait, who may read them, and that none stays behind."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import time
from pathlib import Path

import pytest

from airflow_provider_nxcloud.storage.staging import (
    FOLDER_PREFIX,
    MEMORY_LIMIT,
    STRAY_AGE,
    StagedFile,
    make_staging_folder,
)

LARGE = os.urandom(MEMORY_LIMIT + 1)


@pytest.fixture
def staged(tmp_path: Path) -> StagedFile:
    return StagedFile(tmp_path)


def content(staged: StagedFile) -> bytes:
    return b"".join(staged.chunks(100_000))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def umask():
    """Set the umask, and put the old one back."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def test_staged_small_file_stays_in_memory(staged, tmp_path):
    staged.write(LARGE[:MEMORY_LIMIT])
    assert files(tmp_path) == []
    assert content(staged) == LARGE[:MEMORY_LIMIT]


def test_staged_large_file_goes_to_disk_whole(staged, tmp_path):
    staged.write(LARGE[:1000])
    staged.write(LARGE[1000:])
    assert len(files(tmp_path)) == 1
    assert content(staged) == LARGE


@pytest.mark.parametrize("size", [0, 1, MEMORY_LIMIT, MEMORY_LIMIT + 1])
def test_staged_size_and_hashes_are_those_of_all_bytes(staged, size):
    for start in range(0, size, 100_000):
        staged.write(LARGE[start : min(size, start + 100_000)])
    assert staged.size == size
    assert staged.sha256 == hashlib.sha256(LARGE[:size]).hexdigest()
    assert staged.md5 == hashlib.md5(LARGE[:size]).hexdigest()


@pytest.mark.parametrize("size", [1000, MEMORY_LIMIT + 1])
def test_staged_restarted_file_forgets_everything(staged, tmp_path, size):
    staged.write(LARGE[:size])
    staged.reset()
    assert (staged.size, content(staged), files(tmp_path)) == (0, b"", [])
    staged.write(b"new")
    assert (staged.size, content(staged)) == (3, b"new")
    assert staged.sha256 == hashlib.sha256(b"new").hexdigest()
    assert staged.md5 == hashlib.md5(b"new").hexdigest()


@pytest.mark.parametrize("size", [1000, MEMORY_LIMIT + 1])
def test_staged_head_leaves_further_writes_at_the_end(staged, size):
    staged.write(LARGE[:size])
    assert staged.head(10) == LARGE[:10]
    staged.write(b"end")
    assert content(staged) == LARGE[:size] + b"end"
    assert staged.head(size + 100) == LARGE[:size] + b"end"


@pytest.mark.parametrize("size", [0, 1000, MEMORY_LIMIT + 1])
def test_staged_path_holds_all_bytes(staged, tmp_path, size):
    staged.write(LARGE[:size])
    path = Path(staged.finalize())
    assert path.parent == tmp_path
    assert path.read_bytes() == LARGE[:size]


@pytest.mark.parametrize("size", [1000, MEMORY_LIMIT + 1])
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_staged_path_has_the_permissions_of_any_new_file(staged, umask, size, mask, mode):
    umask(mask)
    staged.write(LARGE[:size])
    assert stat.S_IMODE(Path(staged.finalize()).stat().st_mode) == mode


@pytest.mark.parametrize("size", [0, 1000, MEMORY_LIMIT + 1])
def test_staged_discarded_file_leaves_nothing_and_may_be_discarded_again(staged, tmp_path, size):
    staged.write(LARGE[:size])
    staged.discard()
    staged.discard()
    assert files(tmp_path) == []


def test_staged_path_moved_away_survives_discard(staged, tmp_path):
    staged.write(LARGE)
    published = Path(staged.finalize()).rename(tmp_path / "published")
    staged.discard()
    assert published.read_bytes() == LARGE


@pytest.fixture
def full_disk():
    """Have every file of this process end after 500 bytes, where the first write to go further is cut short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("size", [1000, MEMORY_LIMIT + 1])
def test_staged_path_of_a_full_disk_is_an_error_and_no_shorter_file(staged, size):
    def stage() -> None:
        staged.write(LARGE[:size])
        staged.finalize()

    with pytest.raises(OSError, match="too large"):
        stage()


def test_staged_path_that_nobody_moved_away_is_discarded(staged, tmp_path):
    staged.write(b"content")
    staged.finalize()
    staged.discard()
    assert files(tmp_path) == []


def test_staged_files_of_one_folder_never_meet(tmp_path):
    both = [StagedFile(tmp_path), StagedFile(tmp_path)]
    for number, staged in enumerate(both):
        staged.write(b"%d" % number)
    assert [Path(staged.finalize()).read_bytes() for staged in both] == [b"0", b"1"]


def test_folder_is_new_hidden_and_private(tmp_path):
    first, second = make_staging_folder(tmp_path), make_staging_folder(tmp_path)
    assert first != second
    assert {first.parent, second.parent} == {tmp_path}
    assert first.name.startswith(FOLDER_PREFIX)
    assert FOLDER_PREFIX.startswith(".")
    assert stat.S_IMODE(first.stat().st_mode) == 0o700


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_folder_of_a_killed_run_is_removed_after_a_day(tmp_path):
    stray = make_staging_folder(tmp_path)
    (stray / "part").write_bytes(b"half")
    age(stray, STRAY_AGE + 60)
    make_staging_folder(tmp_path)
    assert not stray.exists()


def test_folder_of_a_running_task_is_kept(tmp_path):
    running = make_staging_folder(tmp_path)
    (running / "part").write_bytes(b"half")
    age(running, STRAY_AGE - 60)
    make_staging_folder(tmp_path)
    assert (running / "part").read_bytes() == b"half"


def test_folder_of_another_name_is_kept_at_any_age(tmp_path):
    others = [tmp_path / "nxcloud-staging-x", tmp_path / ".nxcloud", tmp_path / "media"]
    for other in others:
        other.mkdir()
        age(other, 10 * STRAY_AGE)
    make_staging_folder(tmp_path)
    assert all(other.exists() for other in others)


def test_folder_that_cannot_be_looked_at_does_not_stop_a_run(tmp_path):
    # What a stray looks like while another run removes it: listed, and gone when it is looked at.
    (tmp_path / f"{FOLDER_PREFIX}gone").symlink_to(tmp_path / "nowhere")
    assert make_staging_folder(tmp_path).is_dir()


def test_folder_link_to_somewhere_else_is_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"kept")
    age(kept, 10 * STRAY_AGE)
    (tmp_path / f"{FOLDER_PREFIX}link").symlink_to(kept)
    make_staging_folder(tmp_path)
    assert (kept / "file").read_bytes() == b"kept"


def test_folder_in_a_missing_parent_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        make_staging_folder(tmp_path / "missing")


def test_staged_md5_that_was_not_wanted_on_arrival_is_right_all_the_same(tmp_path):
    for size in (0, 1000, MEMORY_LIMIT + 1):
        content = os.urandom(size)
        staged = StagedFile(tmp_path, md5=False)
        staged.write(content[: size // 2])
        staged.write(content[size // 2 :])
        assert staged.md5 == hashlib.md5(content).hexdigest()
        assert Path(staged.finalize()).read_bytes() == content
