// An agent with ioredis: create a task, read it, change it without losing another's edit, follow it to Planner.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Redis } from "ioredis";

const url = process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0";
const lua = readFileSync(new URL("update.lua", import.meta.url), "utf8");
export const redis = new Redis(url, { scripts: { store: { lua, numberOfKeys: 2 } } });
const key = (id) => `annika:tasks:${id}`;
const pending = "annika:sync:pending";

export async function create(task) {
  const stored = await redis.store(key(task.id), pending, "", JSON.stringify(task), JSON.stringify(task.id));
  if (!stored) throw new Error(`${task.id} exists already`);
}

/** Calls edit(task) on the newest document until nobody else wrote between the read and the write. */
export async function update(id, edit) {
  for (;;) {
    const read = await redis.get(key(id));
    if (read === null) throw new Error(`there is no task ${id}`);
    const task = JSON.parse(read); // everything in it, `_sync` too, goes back as it came
    await edit(task);
    if (await redis.store(key(id), pending, read, JSON.stringify(task), JSON.stringify(id))) return task;
  }
}

/** Prints what is said about the task until Planner has this field's new value. */
function untilSynced(channels, id, field, seconds = 60) {
  return new Promise((resolve, reject) => {
    const why = `${field} of ${id} is not in Planner after ${seconds} s: look at annika:sync:failed`;
    const timer = setTimeout(() => reject(new Error(why)), seconds * 1000);
    channels.on("message", function hear(channel, message) {
      const event = JSON.parse(message);
      if (event.task_id !== id) return;
      console.log(channel, event.action ?? event.status, event.fields ?? "");
      if (event.status === "synced" && event.direction === "up" && event.fields.includes(field)) {
        clearTimeout(timer);
        channels.off("message", hear);
        resolve();
      }
    });
  });
}

async function main() {
  const channels = redis.duplicate(); // a connection that listens does nothing else
  await channels.subscribe("annika:tasks:updates", "annika:tasks:sync");

  const id = `agent-task-${randomUUID()}`;
  const created = untilSynced(channels, id, "title");
  await create({ id, title: "Call the venue", status: "not_started", due_date: "2026-12-01" });
  console.log("created", await redis.get(key(id)));
  await created;

  const changed = untilSynced(channels, id, "percent");
  const task = await update(id, (task) => {
    task.percent_complete = 0.5;
    task.status = "in_progress";
  });
  console.log("changed", JSON.stringify(task));
  await changed;
  console.log("done", id);
  await Promise.all([channels.quit(), redis.quit()]);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main();
