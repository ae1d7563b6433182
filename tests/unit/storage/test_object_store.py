"""What every object store gets, seen through one that fsspec knows and nothing else is known of."""

from __future__ import annotations

import gc
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fsspec import AbstractFileSystem, register_implementation
from fsspec.spec import AbstractBufferedFile

from airflow_provider_nxcloud.exceptions import (
    NxCloudCancelledError,
    NxCloudInputError,
    NxCloudMediaRefusedError,
    NxCloudStorageError,
)
from airflow_provider_nxcloud.storage.destination import make_storage
from airflow_provider_nxcloud.storage.object_store import BLOCK_SIZE, ObjectStorage
from airflow_provider_nxcloud.storage.publishing import StoredObject

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2
    from airflow.io.store import attach

pytestmark = pytest.mark.filterwarnings("ignore:UPath")

SHA256 = "00" * 31 + "ff"


class Upload(AbstractBufferedFile):
    """An upload in parts, whose object is there once the last part is."""

    def _initiate_upload(self):
        self.parts = []

    def _upload_chunk(self, final=False):
        self.fs.before_part(len(self.parts))
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.parts = [len(part) for part in self.parts]
            self.fs.objects[self.path] = {"content": b"".join(self.parts), "type": "file"}

    def discard(self):
        self.fs.discarded.append(self.path)


class PlainStore(AbstractFileSystem):
    """Keeps objects in memory, and lists a folder from a cache until it is told not to."""

    cachable = False
    protocol = "plain"

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        self.objects, self.cached = {}, {}
        self.discarded, self.opened, self.parts = [], [], []
        self.before_part = lambda number: None

    def add(self, path, content=b"content", **info):
        self.objects[path] = {"content": content, "type": "file", **info}

    def info(self, path, **_):
        found = self.cached.get(path) or self.objects.get(path)
        if found is None:
            raise FileNotFoundError(path)
        if isinstance(found, Exception):
            raise found
        return {"name": path, "size": len(found["content"]), **found}

    def invalidate_cache(self, path=None):
        self.cached = {each: info for each, info in self.cached.items() if each.rpartition("/")[0] != path}

    def _open(self, path, mode="rb", **options):
        self.opened.append(options)
        return Upload(self, path, mode, **options)


register_implementation("plain", PlainStore, clobber=True)
# Airflow keeps what is attached first.
STORE = PlainStore()
attach("plain", fs=STORE)


@pytest.fixture
def store():
    STORE.reset()
    return STORE


@pytest.fixture
def storage(store):
    with make_storage("plain://bucket/in/", None, None) as storage:
        yield storage


def staged(storage, content):
    file = storage.stage()
    file.write(content)
    return file


def test_store_that_nothing_is_known_of_gets_the_plain_class(storage):
    assert type(storage) is ObjectStorage
    assert storage.uri("a.jpg") == "plain://bucket/in/a.jpg"
    assert storage.console_url() is None


def test_scheme_that_nothing_serves_says_what_to_install():
    with pytest.raises(
        NxCloudInputError, match=r"^the destination cannot be used: .*; install what provides no"
    ) as e:
        make_storage("nosuch://bucket/in", None, None)
    assert e.value.place == "'nosuch://bucket/in/'"


def test_object_that_is_not_there_is_none(storage):
    assert storage.find("a") is None


@pytest.mark.parametrize(
    ("metadata", "sha256"),
    [
        (None, None),
        ({}, None),
        ({"sha256": SHA256}, SHA256),
        ({"SHA256": SHA256.upper()}, SHA256),
        ({"Sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8="}, SHA256),
        ({"sha256": "somebody else's"}, None),
        ({"other": SHA256}, None),
    ],
)
def test_object_has_its_size_and_the_sha256_kept_with_it(metadata, sha256, store, storage):
    store.add("bucket/in/a", b"1234567", metadata=metadata)
    assert storage.find("a") == StoredObject(7, sha256)


def test_listing_of_before_is_not_believed(store, storage):
    store.cached["bucket/in/folder/gone"] = {"content": b"", "type": "file"}
    assert storage.find("folder/gone") is None


def test_folder_in_place_of_an_object_is_refused(store, storage):
    store.add("bucket/in/a", type="directory")
    with pytest.raises(NxCloudMediaRefusedError, match=r"^this object name is a folder") as e:
        storage.find("a")
    assert e.value.place == "'plain://bucket/in/a'"


@pytest.mark.parametrize("error", [OSError("it is broken"), ValueError("it is broken")])
def test_look_up_that_fails_names_cause_and_place(error, store, storage):
    store.objects["bucket/in/a"] = error
    with pytest.raises(NxCloudStorageError, match=r"it is broken \(cannot look for 'plain://bucket/in/a'\)$"):
        storage.find("a")


def test_page_in_place_of_the_store_is_no_object(store, storage):
    store.add("bucket/in/a", b"<html>", etag=None)
    with pytest.raises(NxCloudStorageError, match="what answers is not the store"):
        storage.find("a")
    store.add("bucket/in/a", b"1", etag="1")
    assert storage.find("a") == StoredObject(1)


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, 2 * BLOCK_SIZE + 1])
def test_object_is_sent_whole_a_block_at_a_time(size, store, storage):
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    store.add("bucket/in/a", b"older")
    storage.publish("a", staged(storage, content), "image/jpeg")
    assert store.objects["bucket/in/a"]["content"] == content
    # fsspec sends what has gathered, at most a chunk more than a block.
    assert max(store.parts) <= BLOCK_SIZE + 256 * 1024
    assert store.discarded == []


def test_write_kwargs_are_handed_on_and_nothing_that_the_store_may_not_know(store):
    with make_storage("plain://bucket/in", None, {"acl": "private"}) as storage:
        storage.publish("a", staged(storage, b"1"), "image/jpeg")
    (options,) = store.opened
    assert options.pop("block_size") == BLOCK_SIZE
    assert options.pop("acl") == "private"
    assert options.keys() <= {"autocommit", "cache_options"}


@pytest.mark.parametrize("part", [0, 1, 2])
def test_upload_that_breaks_leaves_the_older_object_and_is_discarded(part, store, storage):
    def breaks(number):
        if number == part:
            raise OSError("the line is cut")

    store.add("bucket/in/a", b"older")
    store.before_part = breaks
    with pytest.raises(NxCloudStorageError, match=r"the line is cut \(cannot write 'plain://bucket/in/a'\)$"):
        storage.publish("a", staged(storage, bytes(2 * BLOCK_SIZE + 1024 * 1024)))
    store.before_part = lambda number: None
    gc.collect()
    assert store.discarded == ["bucket/in/a"]
    assert store.objects["bucket/in/a"]["content"] == b"older"


def test_cancelled_task_discards_its_upload(store, storage):
    stop = threading.Event()
    store.before_part = lambda number: stop.set()
    with pytest.raises(NxCloudCancelledError, match=r"^the task was cancelled$"):
        storage.publish("a", staged(storage, bytes(3 * BLOCK_SIZE)), None, stop)
    assert store.discarded == ["bucket/in/a"]
    assert store.objects == {}


def test_upload_under_way_is_discarded_when_the_storage_is_left(store):
    hangs, go_on = threading.Event(), threading.Event()

    def hang(number):
        hangs.set()
        go_on.wait(60)

    store.before_part = hang
    with make_storage("plain://bucket/in", None, None) as storage:
        thread = threading.Thread(target=storage.publish, args=("a", staged(storage, b"1")), daemon=True)
        thread.start()
        assert hangs.wait(60)
        staging = storage.staging
    assert store.discarded == ["bucket/in/a"]
    assert not staging.exists()
    go_on.set()
    thread.join(60)


def test_only_so_many_blocks_are_sent_at_once(store, storage):
    under_way, most, lock, full = set(), [], threading.Lock(), threading.Event()

    def before_part(number):
        with lock:
            under_way.add(threading.get_ident())
            most.append(len(under_way))
            if len(under_way) == 4:
                full.set()
        full.wait(60)
        with lock:
            under_way.discard(threading.get_ident())

    store.before_part = before_part
    files = [staged(storage, bytes(BLOCK_SIZE)) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(storage.publish, map(str, range(12)), files))
    assert max(most) == 4
    assert len(store.objects) == 12


def test_missing_folder_for_staging_is_named(storage, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    text = r"^FileNotFoundError: No such file or directory.* \(cannot stage for 'plain://bucket/in/'\)$"
    with pytest.raises(NxCloudStorageError, match=text), make_storage("plain://bucket/in", None, None):
        pass
