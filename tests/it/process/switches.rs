//! The product under every value of every point that Planner's documentation leaves open: one session with all that
//! happens between agents and people, and at its end both sides are the same, nothing is there twice, and Graph was
//! treated as it wants to be.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use annika::keys;
use annika_devkit::graph::{
    Effect, Fault, NewTask, Seed, Switches, When, seed,
    switches::{BucketDelete, Moved, SWITCHES},
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::Instant,
};

use super::{Rig, say};

/// The second plan that is synced.
const OTHER: &str = "oUHpnKBFekqfGE_PS6GGUZcAFY7b";
/// Sessions at a time.
const TOGETHER: usize = 30;
/// How long a session may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Microsoft's example with a second plan.
fn data() -> Seed {
    let mut data = seed::example();
    let plan = json!({"id": OTHER, "title": "Second plan", "owner": seed::GROUP,
        "createdBy": {"user": {"id": seed::AUTHOR}}});
    data.plans.extend(plan.as_object().cloned());
    data
}

/// One session, with the switches that it runs under in every complaint.
struct Session {
    rig: Rig,
    label: String,
    switches: Switches,
}

impl Session {
    async fn start(label: String, switches: Switches) -> Self {
        let rig = Rig::start_with(|options| {
            options.graph.switches = switches;
            options.graph.data = data();
            options.plans = format!("{},{OTHER}", seed::PLAN);
            // So many tasks that two deletions are nothing unusual.
            for name in ["GRAPH_RATE_PER_SECOND", "GRAPH_RATE_BURST", "GRAPH_RATE_MAX"] {
                options.env.push((name.to_owned(), "200".to_owned()));
            }
        })
        .await;
        for n in 0..30 {
            let task =
                NewTask { plan: seed::PLAN.into(), title: format!("ballast {n}"), ..NewTask::default() };
            rig.control().add_task(task).unwrap();
        }
        rig.fire();
        Self { rig, label, switches }
    }

    /// Waits until `probe` complains of nothing.
    async fn until(&self, what: &str, mut probe: impl AsyncFnMut(&Rig) -> Vec<String>) {
        let start = Instant::now();
        loop {
            let complaints = probe(&self.rig).await;
            if complaints.is_empty() {
                return;
            }
            let failed = self.rig.failed().await;
            assert!(
                start.elapsed() < PATIENCE,
                "{}: {what}: {complaints:#?}\nfailed list: {failed:?}\nlast of the journal: {:#?}",
                self.label,
                self.last_entries()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn last_entries(&self) -> Vec<String> {
        let journal = self.rig.control().journal();
        let skip = journal.len().saturating_sub(60);
        let line = |entry: &annika_devkit::graph::Entry| {
            format!(
                "{} {} {} {:?} {:?} {:?} {:?}",
                entry.at_ms, entry.method, entry.path, entry.status, entry.actor, entry.fields, entry.fault
            )
        };
        journal
            .iter()
            .skip(skip)
            .filter(|entry| entry.item.is_some() || entry.batch.is_none())
            .map(line)
            .collect()
    }

    /// The Planner id of a task that an agent made.
    async fn id(&self, task: &str) -> String {
        let mut id = None;
        self.until("it is mapped", async |rig| {
            id = rig.mapped(task).await;
            if id.is_some() { Vec::new() } else { vec![task.to_owned()] }
        })
        .await;
        id.unwrap()
    }

    async fn patch(&self, id: &str, changes: Value) {
        let reply = self.rig.send("PATCH", &format!("/api/tasks/{id}"), Some(changes)).await;
        assert_eq!(reply.status, 200, "{}: {reply:?}", self.label);
    }

    async fn play(&self) {
        let (rig, control) = (&self.rig, self.rig.control());
        self.until("the import", async |rig| {
            let id = format!("planner-{}", seed::TASK);
            if rig.document(&id).await.is_some() { Vec::new() } else { vec![id] }
        })
        .await;
        // The service throttles while tasks are made, and an answer to one of them is lost.
        control.fault(Fault::on("/planner/tasks$", Effect::Throttle { seconds: 1 }).method("POST")).unwrap();
        let mut lost = Fault::on("/planner/tasks$", Effect::lost_reply()).method("POST");
        lost.matching.nth = Some(4);
        control.fault(lost).unwrap();
        for id in ["edited", "contested", "deleted-here", "deleted-there", "moved", "raced", "refused"] {
            let task = json!({"id": id, "title": format!("{id} task"), "plan_id": seed::PLAN,
                "description": format!("what {id} is about")});
            assert_eq!(rig.send("POST", "/api/tasks", Some(task)).await.status, 201);
        }
        let mut ids = BTreeMap::new();
        for id in ["edited", "contested", "deleted-here", "deleted-there", "moved", "raced", "refused"] {
            ids.insert(id, self.id(id).await);
        }
        self.until("every description is there", async |rig| {
            let mut open = Vec::new();
            for (id, planner) in &ids {
                let details = rig.control().details(planner).unwrap_or_default();
                if details["description"] != json!(format!("what {id} is about")) {
                    open.push(format!("{id}: {}", details["description"]));
                }
            }
            open
        })
        .await;

        // Deletions of either side, one of them while a person edits; a move; a bucket goes.
        control.person_delete(seed::PERSON, &ids["deleted-there"]).unwrap();
        control.person_move(seed::PERSON, &ids["moved"], OTHER).unwrap();
        control.person_delete_bucket(seed::PERSON, seed::OTHER_BUCKET).unwrap();
        let edit = |task: &str, body: Value| {
            let task = ids[task].clone();
            Effect::Edit { user: None, task, body: Some(body), details: None, when: When::Before }
        };
        let slip_in = |method: &str, task: &str, body: Value| {
            let path = format!("/planner/tasks/{}$", ids[task]);
            control.fault(Fault::on(&path, edit(task, body)).method(method)).unwrap();
        };
        slip_in("DELETE", "raced", json!({"title": "raced task, edited by her"}));
        for id in ["deleted-here", "raced"] {
            assert_eq!(rig.send("DELETE", &format!("/api/tasks/{id}"), None).await.status, 204);
        }
        // Edits of either side, and of both at once: different fields, and the same one.
        slip_in("PATCH", "edited", json!({"percentComplete": 50}));
        slip_in("PATCH", "contested", json!({"title": "contested task, hers"}));
        self.patch("edited", json!({"title": "edited task, renamed"})).await;
        self.patch("contested", json!({"title": "contested task, ours"})).await;
        self.patch("edited", json!({"description": "described anew"})).await;
        // A refusal that is none.
        let gone = format!("/planner/tasks/{}$", ids["refused"]);
        control.fault(Fault::on(&gone, Effect::status(404)).method("PATCH")).unwrap();
        self.patch("refused", json!({"title": "refused task, taken all the same"})).await;
        let (task, details) = (json!({"title": "her words"}), json!({"description": "her description"}));
        control.person_patch(seed::PERSON, seed::TASK, task).unwrap();
        control.person_patch_details(seed::PERSON, seed::TASK, details).unwrap();
        rig.poll().await;
        self.until("both sides are the same", async |rig| self.differences(rig, &ids).await).await;
        self.check(&ids).await;
    }

    /// Where the two sides differ, or something is under way.
    async fn differences(&self, rig: &Rig, ids: &BTreeMap<&str, String>) -> Vec<String> {
        let mut found = Vec::new();
        let control = rig.control();
        let mut redis = rig.redis.clone();
        let due: usize = redis.llen(keys::sync_pending()).await.unwrap();
        if due > 0 {
            found.push(format!("{due} tasks are pending"));
        }
        let tasks: Vec<Value> = [seed::PLAN, OTHER].iter().flat_map(|plan| control.tasks(plan)).collect();
        let ours: BTreeMap<&str, &str> = ids.iter().map(|(id, planner)| (planner.as_str(), *id)).collect();
        for task in &tasks {
            let planner = task["id"].as_str().unwrap();
            let imported = format!("planner-{planner}");
            let id = ours.get(planner).copied().unwrap_or(imported.as_str());
            let Some(document) = rig.document(id).await else {
                found.push(format!("{id} has no document"));
                continue;
            };
            let details = control.details(planner).unwrap_or_default();
            let described = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let percent = document["percent_complete"].as_f64().unwrap_or(0.0);
            let pairs = [
                ("title", document["title"].clone(), task["title"].clone()),
                ("plan", document["plan_id"].clone(), task["planId"].clone()),
                ("percent", json!((percent * 100.0).round() as i64), task["percentComplete"].clone()),
                (
                    "description",
                    json!(described(&document["description"])),
                    json!(described(&details["description"])),
                ),
            ];
            for (name, here, there) in pairs {
                if here != there {
                    found.push(format!("{id}: {name} is {here} here and {there} there"));
                }
            }
        }
        let known: usize = redis.hlen(keys::sync_index()).await.unwrap();
        if known != tasks.len() {
            found.push(format!("{known} tasks are known, Planner has {}", tasks.len()));
        }
        found
    }

    /// What has to be so now that all is at rest.
    async fn check(&self, ids: &BTreeMap<&str, String>) {
        let (rig, control, label) = (&self.rig, self.rig.control(), &self.label);
        let document = async |id: &str| rig.document(id).await;
        for id in ["deleted-here", "deleted-there"] {
            let (here, there) = (document(id).await, control.task(&ids[id]));
            assert!(
                here.is_none() && there.is_none(),
                "{label}: {id}: {here:?} {there:?} {:#?}",
                self.last_entries()
            );
        }
        let edited = control.task(&ids["edited"]).unwrap();
        assert_eq!(
            (&edited["title"], &edited["percentComplete"]),
            (&json!("edited task, renamed"), &json!(50)),
            "{label}: no edit of the two is lost"
        );
        assert_eq!(control.details(&ids["edited"]).unwrap()["description"], "described anew", "{label}");
        let refused = control.task(&ids["refused"]).unwrap();
        assert_eq!(refused["title"], "refused task, taken all the same", "{label}");
        let hers = document(&format!("planner-{}", seed::TASK)).await.unwrap();
        assert_eq!(hers["title"], "her words", "{label}");
        assert_eq!(document("moved").await.is_some(), self.switches.moved == Moved::KeepsId, "{label}");
        let in_bucket = document(&format!("planner-{}", seed::OTHER_TASK)).await;
        assert_eq!(in_bucket.is_some(), self.switches.bucket_delete == BucketDelete::Unset, "{label}");
        // Nothing twice, on either side.
        let mut titles: Vec<String> = [seed::PLAN, OTHER]
            .iter()
            .flat_map(|plan| control.tasks(plan))
            .map(|task| task["title"].as_str().unwrap().to_owned())
            .collect();
        titles.sort();
        let count = titles.len();
        titles.dedup();
        assert_eq!(titles.len(), count, "{label}: {titles:?}");
        assert_eq!(rig.failed().await, [], "{label}");
        assert_eq!(control.violations().len(), 0, "{label}: {:#?}", control.violations());
        assert_eq!(control.breaches().len(), 0, "{label}: {:#?}", control.breaches());
    }
}

/// What a client meets only when it asks for it or does something wrong, or meets as one of several spellings: such
/// switches share sessions. The others have one for each value.
const SHARED: [&str; 15] = [
    "any_etag",
    "invalid_etag",
    "error_code",
    "inline_details",
    "plan_change",
    "throttle_wait",
    "throttle_code",
    "early_call",
    "unknown_member",
    "read_only",
    "select",
    "top",
    "filter",
    "count",
    "delta_shape",
];

/// Every session: the values that hold when nothing is set, every other value, and all second ones together.
/// `ANNIKA_SWITCH` chooses those whose name holds it.
fn sessions() -> Vec<(String, Switches)> {
    let mut all = vec![("no switch set".to_owned(), Switches::default())];
    let mut shared = vec![(String::new(), Switches::default()); 3];
    let mut together = Switches::default();
    for switch in SWITCHES {
        for (place, (value, _)) in switch.values[1..].iter().enumerate() {
            let name = format!("{}={value}", switch.name);
            if SHARED.contains(&switch.name) {
                let (names, switches) = &mut shared[place];
                switches.set(switch.name, value).unwrap();
                names.push_str(&format!("{name} "));
            } else {
                all.push((name.clone(), Switches::parse(&name).unwrap()));
            }
        }
        together.set(switch.name, switch.values[1].0).unwrap();
    }
    all.extend(shared);
    all.push(("every switch at its second value".to_owned(), together));
    let only = std::env::var("ANNIKA_SWITCH").unwrap_or_default();
    all.retain(|(label, _)| label.contains(&only));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_agree_under_every_value_of_every_open_point() {
    let start = Instant::now();
    let all = sessions();
    let count = all.len();
    let local = LocalSet::new();
    let (room, door) = (Arc::new(Semaphore::new(TOGETHER)), Arc::new(Semaphore::new(1)));
    let (mut failures, mut slowest) = (Vec::new(), (String::new(), Duration::ZERO));
    let played = async {
        let mut running = JoinSet::new();
        for (label, switches) in all {
            let (room, door) = (Arc::clone(&room), Arc::clone(&door));
            running.spawn_local(async move {
                let _place = room.acquire_owned().await.unwrap();
                let begun = Instant::now();
                // One starts after the other: each brings up three servers.
                let entering = door.acquire_owned().await.unwrap();
                let session = Session::start(label.clone(), switches).await;
                drop(entering);
                session.play().await;
                (label, begun.elapsed())
            });
        }
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok((label, took)) if took > slowest.1 => slowest = (label, took),
                Ok(_) => {}
                Err(why) => failures.push(why.to_string()),
            }
        }
    };
    local.run_until(played).await;
    say(&format!(
        "open points of Graph: {count} sessions in {:.0} s, the slowest '{}' in {:.0} s, {} failed",
        start.elapsed().as_secs_f64(),
        slowest.0,
        slowest.1.as_secs_f64(),
        failures.len()
    ));
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
