//! The table itself: one entry a family, from which the statics and the builders are made.

use super::{Cap, Class, Encoding, Family, Kind, Life, Trigger};

const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;

const fn expires(default_s: u32) -> Life {
    Life::Expires { default_s, max_s: default_s }
}

/// Makes, for each entry, a static family, and a function that builds its keys; and the list of all.
macro_rules! families {
    ($($visibility:ident { $($name:ident $builder:ident($($parameter:ident),*) = $pattern:literal,
       $kind:ident $encoding:ident, $life:expr, $class:ident, $owner:literal, $cap:expr, $trigger:ident, $note:literal;)* })*) => {
        $($(
            #[doc = concat!("`", $pattern, "`: ", $note)]
            pub static $name: Family = Family {
                pattern: $pattern,
                private: families!(@private $visibility),
                kind: Kind::$kind,
                encoding: Encoding::$encoding,
                life: $life,
                class: Class::$class,
                owner: $owner,
                cap: $cap,
                trigger: Trigger::$trigger,
                note: $note,
            };
            families!(@builder $name $builder($($parameter),*) $pattern);
        )*)*
        /// Every family there is.
        pub static FAMILIES: &[&Family] = &[$($(&$name),*),*];
    };
    (@private contract) => { false };
    (@private private) => { true };
    (@builder $name:ident $builder:ident() $pattern:literal) => {
        #[doc = concat!("`", $pattern, "`")]
        pub fn $builder() -> &'static str {
            $name.pattern
        }
    };
    (@builder $name:ident $builder:ident($($parameter:ident),+) $pattern:literal) => {
        #[doc = concat!("The key `", $pattern, "`")]
        pub fn $builder($($parameter: &str),+) -> String {
            $name.key(&[$($parameter),+])
        }
    };
}

families! {
contract {
    // The task documents, and what is said about them.
    TASK task(task_id) = "annika:tasks:{task_id}",
        String Json, Life::Persistent, Public, "tasks", Cap::PerTask, Task,
        "A task as agents read and write it; a RedisJSON value is read and written too.";
    TASKS_UPDATES tasks_updates() = "annika:tasks:updates",
        Channel Json, Life::Momentary, Public, "tasks", Cap::One, Task,
        "Changes of tasks: `action`, `task_id`, `task`, `source`; agents publish here and listen.";
    TASKS_SYNC tasks_sync() = "annika:tasks:sync",
        Channel Json, Life::Momentary, Public, "sync", Cap::One, Agents,
        "What became of a change: synced, conflict, failed, deleted or restored.";
    PUBSUB_TASKS pubsub_tasks() = "annika:pubsub:tasks",
        Channel Json, Life::Momentary, Public, "tasks", Cap::One, Agents,
        "Task events: `type`, `id`, `data`.";
    TASK_MAPPING task_mapping(annika_id) = "annika:task:mapping:{annika_id}",
        String Json, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "The same text as the id map, under its other name.";
    TASK_MAPPING_PLANNER task_mapping_planner(planner_id) = "annika:task:mapping:planner:{planner_id}",
        String Json, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "The way back: which task a Planner task is; the same text as the id map.";

    // Planner.
    PLANNER_ID_MAP planner_id_map(annika_id) = "annika:planner:id_map:{annika_id}",
        String Json, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "Which Planner task a task is: `annika_id`, `planner_id`, `plan_id`, `created_at`.";
    PLANNER_ETAG planner_etag(planner_id) = "annika:planner:etag:{planner_id}",
        String Text, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "The last ETag seen of a Planner task.";
    PLANNER_ETAG_DETAILS planner_etag_details(planner_id) = "annika:planner:etag:{planner_id}:details",
        String Text, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "The last ETag seen of a Planner task's details.";
    PLANNER_TASK planner_task(planner_id) = "annika:planner:tasks:{planner_id}",
        String Json, expires(HOUR), Public, "sync", Cap::PerTask, Nothing,
        "A Planner task as Graph sent it last.";
    PLANNER_WEBHOOK planner_webhook() = "annika:planner:webhook",
        Channel Json, Life::Momentary, Public, "webhooks", Cap::One, Plan,
        "Planner's change notifications as they come in.";
    CONFIG_DEFAULT_PLAN_ID config_default_plan_id() = "annika:config:default_plan_id",
        String Text, Life::Persistent, Public, "planner", Cap::One, Nothing,
        "The plan of a task that names none.";

    // What the sync engine shows.
    SYNC_LOG sync_log() = "annika:sync:log",
        List Json, Life::Persistent, Public, "sync", Cap::Elements(1_000), Nothing,
        "What the sync did, newest first: `op`, `id`, `planner_id`, `ms`, `requests`, `outcome`.";
    SYNC_PENDING sync_pending() = "annika:sync:pending",
        List Json, Life::Persistent, Public, "sync", Cap::Others, Task,
        "One entry for each task that waits; its length is the backlog, and others may push to it.";
    SYNC_FAILED sync_failed() = "annika:sync:failed",
        List Json, Life::Persistent, Public, "sync", Cap::PerTask, Agents,
        "One entry for each task that cannot be synced, with the error's code and what to do.";
    SYNC_WEBHOOK_STATUS sync_webhook_status() = "annika:sync:webhook_status",
        String Json, Life::Persistent, Public, "webhooks", Cap::One, Nothing,
        "The state of the Graph subscriptions.";
    SYNC_LAST_UPLOAD sync_last_upload(annika_id) = "annika:sync:last_upload:{annika_id}",
        String Number, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "When a task was last uploaded, in Unix seconds.";
    SYNC_HEALTH sync_health() = "annika:sync:health",
        String Json, expires(300), Public, "sync", Cap::One, Nothing,
        "How the sync is doing; gone when no engine has run for five minutes.";

    // Tokens.
    TOKEN_AGENT token_agent(scope) = "annika:tokens:agent:{scope*}",
        String Json, Life::WithItsData { margin_s: 300 }, Secret, "tokens", Cap::Life, Nothing,
        "A delegated token for a scope: `token`, `expires_on`, `scope`, `stored_at`, `refresh_count`.";
    TOKEN_USER token_user(user_id, scope) = "annika:tokens:user:{user_id}:{scope*}",
        String Json, Life::WithItsData { margin_s: 300 }, Secret, "tokens", Cap::Life, Nothing,
        "A user's delegated token for a scope, with `user_id` beside the rest.";
    TOKENS_ACTIVE tokens_active() = "annika:tokens:active",
        Set Text, Life::Persistent, Public, "tokens", Cap::Life, Nothing,
        "The names of the token keys there are.";

    // Cached Graph objects.
    GRAPH_USER graph_user(user_id) = "annika:graph:users:{user_id}",
        String Json, expires(DAY), Pii, "metadata", Cap::Life, Nothing, "A user as Graph describes them.";
    GRAPH_GROUP graph_group(group_id) = "annika:graph:groups:{group_id}",
        String Json, expires(DAY), Public, "metadata", Cap::Life, Nothing, "A group as Graph describes it.";
    GRAPH_PLAN graph_plan(plan_id) = "annika:graph:plans:{plan_id}",
        String Json, expires(DAY), Public, "metadata", Cap::PerPlan, Nothing, "A plan as Graph describes it.";
    GRAPH_TASK graph_task(task_id) = "annika:graph:tasks:{task_id}",
        String Json, Life::Persistent, Public, "metadata", Cap::PerTask, Nothing, "A Planner task as Graph describes it.";
    GRAPH_BUCKET graph_bucket(bucket_id) = "annika:graph:buckets:{bucket_id}",
        String Json, expires(DAY), Public, "metadata", Cap::Life, Nothing, "A bucket as Graph describes it.";
    PUBSUB_METADATA pubsub_metadata() = "annika:pubsub:metadata",
        Channel Json, Life::Momentary, Pii, "metadata", Cap::One, Agents, "Changes of cached Graph objects.";

    // Webhooks and Teams.
    WEBHOOK_LOG webhook_log() = "annika:webhook:log",
        List Json, Life::Persistent, Public, "webhooks", Cap::Elements(500), Nothing,
        "Webhook events, newest first.";
    WEBHOOKS_NOTIFICATIONS webhooks_notifications() = "annika:webhooks:notifications",
        List Json, expires(HOUR), Public, "webhooks", Cap::Elements(500), Nothing,
        "Recent notifications, newest first.";
    TEAMS_CHAT_MESSAGES teams_chat_messages() = "annika:teams:chat_messages",
        Channel Json, Life::Momentary, Pii, "msteams", Cap::One, Agents, "Messages in chats.";
    TEAMS_CHANNEL_MESSAGES teams_channel_messages() = "annika:teams:channel_messages",
        Channel Json, Life::Momentary, Pii, "msteams", Cap::One, Agents, "Messages in channels.";
    TEAMS_CHATS teams_chats() = "annika:teams:chats",
        Channel Json, Life::Momentary, Pii, "msteams", Cap::One, Agents, "Chats made, changed, deleted.";
    TEAMS_CHANNELS teams_channels() = "annika:teams:channels",
        Channel Json, Life::Momentary, Pii, "msteams", Cap::One, Agents, "Channels made, changed, deleted.";
    TEAMS_CHAT_MESSAGES_HISTORY teams_chat_messages_history() = "annika:teams:chat_messages:history",
        List Json, Life::Persistent, Pii, "msteams", Cap::Elements(100), Nothing, "The last messages in chats.";
    TEAMS_CHANNEL_MESSAGES_HISTORY teams_channel_messages_history() = "annika:teams:channel_messages:history",
        List Json, Life::Persistent, Pii, "msteams", Cap::Elements(100), Nothing, "The last messages in channels.";
    TEAMS_CHATS_HISTORY teams_chats_history() = "annika:teams:chats:history",
        List Json, Life::Persistent, Pii, "msteams", Cap::Elements(50), Nothing, "The last chat events.";
    TEAMS_CHANNELS_HISTORY teams_channels_history() = "annika:teams:channels:history",
        List Json, Life::Persistent, Pii, "msteams", Cap::Elements(50), Nothing, "The last channel events.";
    CHAT_SUBSCRIPTION chat_subscription(subscription_id) = "annika:chat_subscriptions:{subscription_id}",
        String Json, Life::WithItsData { margin_s: 0 }, Public, "msteams", Cap::Life, Nothing,
        "A Teams chat subscription, until it expires.";
}
private {
    // What the sync engine keeps to itself.
    SYNC_STATE sync_state(annika_id) = "annika:sync:state:{annika_id}",
        Hash Fields, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "What was last agreed about a task, its lease, and the writes of unknown outcome.";
    SYNC_CHILDREN sync_children(annika_id) = "annika:sync:children:{annika_id}",
        Set Text, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "The tasks whose documents are checklist items of this one.";
    SYNC_DUE sync_due() = "annika:sync:due",
        SortedSet Text, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "Tasks that wait, by the time in ms at which they may be worked on.";
    SYNC_DUE_LOW sync_due_low() = "annika:sync:due:low",
        SortedSet Text, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "The same for tasks that nobody waits for: imports, and looks at details.";
    SYNC_CLAIMED sync_claimed(holder) = "annika:sync:claimed:{holder}",
        List Text, expires(60), Public, "sync", Cap::Life, Nothing,
        "The tasks that an engine claimed last, for the case that it did not hear of them.";
    SYNC_FENCE sync_fence() = "annika:sync:fence",
        String Number, Life::Persistent, Public, "sync", Cap::One, Nothing,
        "A counter that tells a newer holder of a lease from an older one.";
    SYNC_INDEX sync_index() = "annika:sync:index",
        Hash Fields, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "The digest of each known task as the sweep last saw it.";
    SYNC_AGING sync_aging() = "annika:sync:aging",
        Hash Fields, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "Since when each completed task has been as it is, in ms, with its digest; where completed tasks leave Redis.";
    SYNC_RMAP sync_rmap(planner_id) = "annika:sync:rmap:{planner_id}",
        String Text, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "Which task a Planner task is, as the engine uses it.";
    SYNC_REMOTE sync_remote(plan_id) = "annika:sync:remote:{plan_id}",
        Hash Fields, Life::Persistent, Public, "sync", Cap::PerPlan, Nothing,
        "The Planner ids and ETags of a plan's last complete list.";
    SYNC_POLL sync_poll(plan_id) = "annika:sync:poll:{plan_id}",
        Hash Fields, Life::Persistent, Public, "sync", Cap::PerPlan, Plan,
        "When a plan was polled, and when it is next.";
    SYNC_BLOCKS sync_blocks() = "annika:sync:blocks",
        Hash Json, expires(86_400), Public, "sync", Cap::PerPlan, Nothing,
        "What stands against plans, by plan: their list is refused, or they take no new tasks.";
    SYNC_POLLS sync_polls() = "annika:sync:polls",
        Set Text, expires(3_600), Public, "sync", Cap::PerPlan, Plan,
        "Plans that somebody wants polled now; `*` stands for all of them.";
    SYNC_THROTTLE sync_throttle() = "annika:sync:throttle",
        Hash Fields, Life::Persistent, Public, "sync", Cap::One, Nothing,
        "The pace of requests to Graph (`rate`, `concurrency`, `throttled`), and until when it is left alone.";
    SYNC_TOMB sync_tomb(annika_id) = "annika:sync:tomb:{annika_id}",
        String Json, expires(30 * DAY), Public, "sync", Cap::PerTask, Nothing,
        "The last bytes of a deleted document, from which it can be brought back.";
    SYNC_TOMB_PLANNER sync_tomb_planner(annika_id) = "annika:sync:tomb:{annika_id}:planner",
        String Json, expires(30 * DAY), Public, "sync", Cap::PerTask, Nothing,
        "Planner's last copy of a deleted task: `planner_id`, `direction`, `deleted_at`, `task` with its details.";
    SYNC_TOMBS sync_tombs() = "annika:sync:tombs",
        SortedSet Text, expires(30 * DAY), Public, "sync", Cap::PerTask, Nothing,
        "The deleted tasks that can be brought back, by the time of their deletion in ms.";
    SYNC_DEAD sync_dead(planner_id) = "annika:sync:dead:{planner_id}",
        String Text, expires(30 * DAY), Public, "sync", Cap::PerTask, Nothing,
        "Which task a deleted Planner task was: a list that shows it alive gives that task back.";
    SYNC_GUARD sync_guard(direction) = "annika:sync:guard:{direction}",
        SortedSet Text, expires(DAY), Public, "sync", Cap::PerTask, Nothing,
        "Deletions that were only inferred, by the time in ms at which they went through; counted over 24 hours.";
    SYNC_GUARD_HELD sync_guard_held(direction) = "annika:sync:guard:{direction}:held",
        SortedSet Text, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "Deletions that wait for a person, because too many came at once; by the time in ms of the first try.";
    SYNC_GONE sync_gone(planner_id) = "annika:sync:gone:{planner_id}",
        String Text, expires(300), Public, "sync", Cap::PerTask, Nothing,
        "A Planner task was deleted a moment ago: a list that still shows it is stale. Lists older than 4 minutes do not count.";
    SYNC_CREATES sync_creates() = "annika:sync:creates",
        Hash Json, Life::Persistent, Public, "sync", Cap::PerTask, Nothing,
        "Creates that were begun and whose outcome is not stored: what was sent and when, by task.";
    SYNC_ORPHANS sync_orphans() = "annika:sync:orphans",
        Hash Fields, expires(DAY), Public, "sync", Cap::PerTask, Nothing,
        "Planner tasks of our own application that may belong to an open create, and since when each plan's lists hold none.";
    SYNC_CONFLICTS sync_conflicts() = "annika:sync:conflicts",
        Stream Fields, Life::Persistent, Public, "sync", Cap::Elements(10_000), Nothing,
        "Values that lost against another, newest last.";
    SYNC_EPOCH sync_epoch() = "annika:sync:epoch",
        String Text, Life::Persistent, Public, "sync", Cap::One, Nothing,
        "Present as long as Redis has not lost its memory; without it nothing is deleted.";
    SYNC_LOCK sync_lock(name) = "annika:sync:lock:{name}",
        String Text, expires(15), Public, "sync", Cap::Life, Nothing,
        "A lease, held by the process whose random name it holds.";

    // What the product keeps to itself.
    TASKS_ENTRIES tasks_entries() = "annika:private:tasks:entries",
        Hash Text, Life::Persistent, Public, "tasks", Cap::PerTask, Nothing,
        "The lists that each task stands in, so that it can be taken out of them.";
    TASKS_INDEX tasks_index(entry) = "annika:private:tasks:index:{entry*}",
        SortedSet Text, Life::Persistent, Public, "tasks", Cap::PerTask, Nothing,
        "The task ids of one list (all, of a plan, an assignee, a status), in the order of their text.";
    IDEMPOTENCY idempotency(hash) = "annika:private:idempotency:{hash}",
        String Json, expires(DAY), Public, "tasks", Cap::Life, Nothing,
        "The answer to an unsafe call, for the case that it comes again.";
    DIRECTORY_NAME directory_name(hash) = "annika:private:directory:{hash}",
        String Text, expires(DAY), Pii, "planner", Cap::Life, Nothing,
        "The object id of the user that documents call by a name (the hash is the name's); empty: nobody, or several.";
    PLAN_CATEGORIES plan_categories(plan_id) = "annika:private:categories:{plan_id}",
        String Json, expires(DAY), Public, "planner", Cap::PerPlan, Nothing,
        "The names of a plan's categories, and when they were read.";
    ERASED erased() = "annika:private:erased",
        Hash Fields, Life::Persistent, Public, "erasure", Cap::Elements(100_000), Nothing,
        "Hashes of the object ids of erased people, with the time in ms: what Graph sends of them is left out.";
    DEVELOPMENT development() = "annika:private:development",
        String Text, Life::Persistent, Public, "devkit", Cap::One, Nothing,
        "Says that the keys of this Redis were made by the development tools, which may remove them.";
}
}
