"""An agent with redis-py: create a task, read it, change it without losing another's edit, follow it to Planner."""
import json
import os
import pathlib
import time
import uuid

import redis

r = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
store = r.register_script(pathlib.Path(__file__).with_name("update.lua").read_text())
KEY, PENDING = "annika:tasks:{}", "annika:sync:pending"


def text(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def create(task):
    if not store(keys=[KEY.format(task["id"]), PENDING], args=["", text(task), text(task["id"])]):
        raise RuntimeError(f"{task['id']} exists already")


def update(task_id, edit):
    """Calls edit(task) on the newest document until nobody else wrote between the read and the write."""
    while True:
        read = r.get(KEY.format(task_id))
        if read is None:
            raise KeyError(task_id)
        task = json.loads(read)  # everything in it, `_sync` too, goes back as it came
        edit(task)
        if store(keys=[KEY.format(task_id), PENDING], args=[read, text(task), text(task_id)]):
            return task


def until_synced(channels, task_id, field, seconds=60):
    """Prints what is said about the task until Planner has this field's new value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = channels.get_message(ignore_subscribe_messages=True, timeout=1)
        if message is None:
            continue
        event = json.loads(message["data"])
        if event.get("task_id") != task_id:
            continue
        print(message["channel"].decode(), event.get("action") or event.get("status"), event.get("fields", ""))
        if event.get("status") == "synced" and event["direction"] == "up" and field in event["fields"]:
            return
    raise TimeoutError(f"{field} of {task_id} is not in Planner after {seconds} s: look at annika:sync:failed")


def main():
    channels = r.pubsub()
    channels.subscribe("annika:tasks:updates", "annika:tasks:sync")

    task_id = f"agent-task-{uuid.uuid4()}"
    create({"id": task_id, "title": "Call the venue", "status": "not_started", "due_date": "2026-12-01"})
    print("created", r.get(KEY.format(task_id)).decode())
    until_synced(channels, task_id, "title")

    def begin(task):
        task["percent_complete"] = 0.5
        task["status"] = "in_progress"

    print("changed", text(update(task_id, begin)))
    until_synced(channels, task_id, "percent")
    print("done", task_id)


if __name__ == "__main__":
    main()
