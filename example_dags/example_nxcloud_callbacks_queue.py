"""
Fetch the media of NXCloud's callbacks from a queue, Amazon SQS, in which each waits until its files are stored.

The body of a message is a callback as NXCloud sent it. The last task deletes the messages whose media files are
all stored; any other message comes again, until the queue's redrive policy moves it to its dead-letter queue.

For Airflow 3.1 or newer, with the packages `apache-airflow-providers-amazon[aiobotocore]` and
`apache-airflow-providers-common-messaging`, the connection `aws_default`, and the queue's URL in the environment
variable `NXCLOUD_QUEUE_URL`. Without that variable no queue is watched, and a run has nothing to do.
"""

# [START example_nxcloud_callbacks_queue]
from __future__ import annotations

import json
import logging
import os
from datetime import datetime, timedelta
from itertools import chain, groupby, islice

from airflow.providers.common.compat.sdk import DAG, Asset, ObjectStoragePath, task

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.webhook import media_from_webhook

log = logging.getLogger(__name__)

DESTINATION = os.environ.get("NXCLOUD_DESTINATION", "file:///tmp/nxcloud-media")
QUEUE_URL = os.environ.get("NXCLOUD_QUEUE_URL")
AWS_CONN_ID = "aws_default"
#: Longer than a run takes with its retries; a message that comes again before only costs a look.
VISIBILITY_TIMEOUT = timedelta(minutes=30)
#: Events read at a time, and messages whose media files one task fetches.
PAGE, BATCH = 100, 1000

watched = {}
if QUEUE_URL:  # Airflow 2 has neither of these
    from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
    from airflow.sdk import AssetWatcher

    trigger = MessageQueueTrigger(
        scheme="sqs",
        sqs_queue=QUEUE_URL,
        aws_conn_id=AWS_CONN_ID,
        # By default it deletes a message before Airflow has stored the event, and a kill in between loses it.
        delete_message_on_reception=False,
        visibility_timeout=int(VISIBILITY_TIMEOUT.total_seconds()),
        # Up to 100 messages an event, gathered for up to 10 seconds.
        max_messages=10,
        num_batches=10,
        wait_time_seconds=1,
        waiter_delay=1,
    )
    watched["watchers"] = [AssetWatcher(name="nxcloud_callbacks_queue", trigger=trigger)]
CALLBACKS = Asset("nxcloud_callbacks_queue", **watched)


def read_messages(events, since: datetime):
    """Yield the messages in the asset's events from a moment on, oldest first."""
    while page := list(events.after(since.isoformat()).limit(PAGE)):
        for event in page:
            try:
                yield from [each for each in event.extra["payload"]["message_batch"] if "Body" in each]
            except (KeyError, TypeError):  # whoever presses "Create asset event" gives no messages
                log.warning("Left out the event of %s: it has no messages of a queue", event.timestamp)
        if len(page) < PAGE or page[-1].timestamp == since:
            return
        since = page[-1].timestamp  # whose event comes again


def read_media(message) -> list[dict]:
    """Return what a message has to fetch; raise ValueError when it is no callback."""
    media, callback = media_from_webhook(message["Body"]), json.loads(message["Body"])
    if not isinstance(callback, dict) or not {"messages", "statuses"} & callback.keys():
        raise ValueError("it is no object with messages or statuses")
    return media


def complete(items) -> list[dict]:
    """Return each media file once; what comes later adds what was not known."""
    media = {}
    for item in items:
        known = {key: value for key, value in media.get(item["media_id"], {}).items() if value is not None}
        media[item["media_id"]] = {**item, **known}
    return list(media.values())


def read_lines(path: str) -> list[dict]:
    # Not splitlines, which would also split at U+2028 in a caption.
    return [json.loads(line) for line in ObjectStoragePath(path).read_text().split("\n") if line]


def media_of_batch(path: str) -> list[dict]:
    """Runs where a batch is fetched, so that XCom holds the path of each batch and not its media."""
    return complete(chain.from_iterable(message["media"] for message in read_lines(path)))


def phone_of(message) -> str:
    return next((str(item["business_phone"]) for item in message["media"]), "")


with DAG(
    dag_id="example_nxcloud_callbacks_queue",
    description="Fetch the media of NXCloud's callbacks from a queue, where each waits until it is stored",
    doc_md=__doc__,
    schedule=[CALLBACKS],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # What comes in during a run is one batch of the next.
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=10)},
    tags=["example", "nxcloud"],
):

    @task(inlets=[CALLBACKS])
    def gather_messages(run_id=None, inlet_events=None, triggering_asset_events=None):
        """Write a file for each batch of messages and return their paths."""
        new = list(chain.from_iterable((triggering_asset_events or {}).values()))
        messages = {}
        # Airflow gives a run only some of the events that are new, so it reads all from the first of them on.
        for message in read_messages(inlet_events[CALLBACKS], min(e.timestamp for e in new)) if new else ():
            try:
                media = read_media(message)
            except ValueError as error:
                log.warning("No callback, and left in the queue: message %s: %s", message["MessageId"], error)
                continue
            # A message that came again is deleted by its last receipt.
            messages[message["MessageId"]] = {"receipt": message["ReceiptHandle"], "media": media}
        paths = []
        # Each merchant number apart, because one that NXCloud refuses ends the task.
        for _, group in groupby(sorted(messages.values(), key=phone_of), phone_of):
            while batch := list(islice(group, BATCH)):
                path = ObjectStoragePath(f"{DESTINATION}/callbacks/{run_id}/{len(paths):05}.jsonl")
                if path.protocol in ("", "file"):  # stores need no folders
                    path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(f"{json.dumps(each)}\n" for each in batch))
                paths.append(str(path))
        log.info("%d messages with callbacks in %d batches", len(messages), len(paths))
        return paths

    @task
    def delete_messages(paths):
        """Delete the messages whose media files are all stored, also when others failed."""
        from airflow.providers.amazon.aws.hooks.sqs import SqsHook

        sqs = SqsHook(AWS_CONN_ID)
        for path in paths:
            messages, manifest = read_lines(path), path.replace(".jsonl", ".manifest.jsonl")
            records = read_lines(manifest) if ObjectStoragePath(manifest).exists() else []
            stored = {record["media_id"] for record in records if record["status"] != "failed"}
            done = (m["receipt"] for m in messages if {item["media_id"] for item in m["media"]} <= stored)
            deleted = 0
            while receipts := list(islice(done, 10)):
                entries = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(receipts)]
                answer = sqs.conn.delete_message_batch(QueueUrl=QUEUE_URL, Entries=entries)
                deleted += len(answer.get("Successful", ()))
            log.info("%d of %d messages of %s deleted, the others come again", deleted, len(messages), path)

    batches = gather_messages()
    get_media = NxCloudGetMediaOperator.partial(
        task_id="get_media",
        retries=1,  # for a worker that dies; a media file that fails comes again with its message
        destination=DESTINATION,
        manifest=f"{DESTINATION}/callbacks/{{{{ run_id }}}}/{{{{ '%05d' % ti.map_index }}}}.manifest.jsonl",
        # The manifests have the records; in XCom they would be a third of a megabyte for 1,000 media files.
        do_xcom_push=False,
        outlets=[Asset("whatsapp_media")],
    ).expand(media_ids=batches.map(media_of_batch))
    # A teardown also runs when media files failed, and the run fails all the same.
    get_media >> delete_messages(batches).as_teardown(setups=batches)
# [END example_nxcloud_callbacks_queue]
