//! Redis loses what it knew, wholly or in parts: nothing is deleted on either side, nothing is made twice.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use annika::{
    app::http_client,
    clock::{SystemClock, SystemRng},
    config::{PlanSource, Settings},
    entra::Credentials,
    graph::GraphClient,
    keys,
    planner::{PlanSources, PlannerWorld, guarded, rebuild, release},
};
use annika_devkit::{
    graph::{GraphOptions, GraphSimulator, Seed, seed},
    redis_server::{RedisOptions, RedisServer},
};
use annika_sync::{
    engine::{Engine, Settings as EngineSettings},
    limiter::Rate,
    world::{Direction, GuardLimits, RebuildProgress},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::store::store_for;

/// An engine over a Redis and a Planner of its own, in a hurry.
struct Losses {
    server: RedisServer,
    redis: MultiplexedConnection,
    graph: GraphSimulator,
    engine: Arc<Engine<PlannerWorld>>,
    stop: CancellationToken,
}

impl Drop for Losses {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Losses {
    async fn start() -> Self {
        let server = RedisServer::start(RedisOptions::default()).await.unwrap();
        let redis = server.connect().await.unwrap();
        let data = seed::example();
        let options = GraphOptions { data: Seed { tasks: Vec::new(), ..data }, ..GraphOptions::example() };
        let graph = GraphSimulator::start(options).await.unwrap();
        let mut variables: HashMap<&str, String> = graph.environment(false).into_iter().collect();
        variables.insert("GRAPH_RATE_PER_SECOND", "500".into());
        variables.insert("GRAPH_RATE_MAX", "500".into());
        let settings = Settings::read(&|name| variables.get(name).cloned()).unwrap();
        let (clock, rng, http) = (SystemClock::shared(), SystemRng::shared(), http_client().unwrap());
        let credentials =
            Arc::new(Credentials::new(&settings.entra, http.clone(), clock.clone(), rng.clone()));
        let client = GraphClient::new(&settings.graph, credentials, http, clock.clone(), rng.clone());
        let plans = PlanSources::new(vec![PlanSource::Plan(seed::PLAN.into())]);
        let application = settings.entra.application_id().map(str::to_owned);
        let world = PlannerWorld::new(store_for(&server), client, clock, rng, plans, application, 0).unwrap();
        let hurry = EngineSettings {
            lease: Duration::from_secs(3),
            renew: Duration::from_millis(300),
            linger: Duration::ZERO,
            sweep_every: Duration::from_millis(400),
            poll_every: Duration::from_millis(700),
            rate: Rate { start: 500.0, max: 500.0, burst: 500.0 },
            guard: GuardLimits { min: 3, percent: 5 },
            ..EngineSettings::default()
        };
        let engine = Arc::new(Engine::new(world, hurry));
        let stop = CancellationToken::new();
        let (running, stopped) = (Arc::clone(&engine), stop.clone());
        drop(tokio::spawn(async move { running.run(stopped.cancelled_owned()).await }));
        let mut stage = Self { server, redis, graph, engine, stop };
        stage.whole().await;
        stage
    }

    async fn epoch(&mut self) -> Option<String> {
        self.redis.get(keys::sync_epoch()).await.unwrap()
    }

    /// Waits until the memory is whole, under another epoch than the one before.
    async fn whole_after(&mut self, before: Option<String>) {
        let mut redis = self.redis.clone();
        within("a new epoch", async || {
            let epoch: Option<String> = redis.get(keys::sync_epoch()).await.unwrap();
            epoch.as_ref().is_some_and(|epoch| !epoch.starts_with("rebuild:")) && epoch != before
        })
        .await;
    }

    async fn whole(&mut self) {
        self.whole_after(None).await;
    }

    /// Agents make tasks; waits until each is in Planner and stamped.
    async fn with_tasks(mut self, count: usize) -> Self {
        for n in 0..count {
            self.set(&format!("t-{n}"), &json!({"title": format!("task {n}"), "mine": n})).await;
        }
        let mut redis = self.redis.clone();
        within("all are mapped", async || {
            for n in 0..count {
                let map: Option<String> = redis.get(keys::planner_id_map(&format!("t-{n}"))).await.unwrap();
                if map.is_none() {
                    return false;
                }
            }
            redis.zcard::<_, usize>(keys::sync_due()).await.unwrap() == 0
        })
        .await;
        assert_eq!(self.tasks().len(), count);
        self
    }

    async fn set(&mut self, id: &str, document: &Value) {
        let () = self.redis.set(keys::task(id), document.to_string()).await.unwrap();
    }

    async fn documents(&mut self) -> Vec<(String, Value)> {
        let mut names: Vec<String> =
            redis::cmd("KEYS").arg(keys::task("*")).query_async(&mut self.redis).await.unwrap();
        names.sort();
        let mut documents = Vec::new();
        for name in names {
            let text: String = self.redis.get(&name).await.unwrap();
            let id = name.trim_start_matches(&keys::task("")).to_owned();
            documents.push((id, serde_json::from_str(&text).unwrap()));
        }
        documents
    }

    async fn ids(&mut self) -> Vec<String> {
        self.documents().await.into_iter().map(|(id, _)| id).collect()
    }

    fn tasks(&self) -> Vec<Value> {
        self.graph.control().tasks(seed::PLAN)
    }

    /// Planner's titles, in order.
    fn titles(&self) -> Vec<String> {
        let mut titles: Vec<String> =
            self.tasks().iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect();
        titles.sort();
        titles
    }

    fn writes(&self) -> u64 {
        self.graph.control().counts().app.committed
    }

    async fn forget(&mut self, pattern: &str) {
        let names: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut self.redis).await.unwrap();
        let _: u64 = self.redis.del(names).await.unwrap();
    }

    async fn flush(&mut self) {
        let _: redis::Value = redis::cmd("FLUSHALL").query_async(&mut self.redis).await.unwrap();
    }

    /// Lets the engine do all that it wants to: two more sweeps and polls, and nothing is due.
    async fn at_rest(&mut self) {
        let counter = |name: &str| self.engine.report().counters.get(name).copied().unwrap_or(0);
        let (sweeps, polls) = (counter("sweeps"), counter("polls"));
        let mut redis = self.redis.clone();
        within("rest", async || {
            let report = self.engine.report();
            let counter = |name: &str| report.counters.get(name).copied().unwrap_or(0);
            let now = jiff::Timestamp::now().as_millisecond();
            let due: usize = redis.zcount(keys::sync_due(), "-inf", now + 5_000).await.unwrap();
            counter("sweeps") >= sweeps + 3 && counter("polls") >= polls + 3 && due == 0
        })
        .await;
    }
}

/// Calls `probe` until it answers true.
async fn within(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !probe().await {
        assert!(start.elapsed() < Duration::from_secs(40), "{what}: not within 40 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn after_flushall_every_task_is_imported_once_and_nothing_is_written_to_planner() {
    let mut stage = Losses::start().await.with_tasks(6).await;
    let (titles, writes, epoch) = (stage.titles(), stage.writes(), stage.epoch().await);
    stage.flush().await;
    stage.whole_after(epoch).await;
    stage.at_rest().await;
    assert_eq!((stage.titles(), stage.writes()), (titles, writes));
    let ids = stage.ids().await;
    assert!(ids.len() == 6 && ids.iter().all(|id| id.starts_with("planner-")), "{ids:?}");
}

#[tokio::test]
async fn documents_that_come_back_after_flushall_find_their_tasks_by_stamp_or_by_title() {
    let mut stage = Losses::start().await.with_tasks(4).await;
    let (titles, epoch) = (stage.titles(), stage.epoch().await);
    let documents = stage.documents().await;
    stage.flush().await;
    for (n, (id, document)) in documents.iter().enumerate() {
        let mut document = document.clone();
        if n % 2 == 0 {
            document.as_object_mut().unwrap().remove("_sync");
        }
        stage.set(id, &document).await;
    }
    stage.whole_after(epoch).await;
    stage.at_rest().await;
    assert_eq!(stage.titles(), titles, "no second task");
    assert_eq!(stage.ids().await, ["t-0", "t-1", "t-2", "t-3"], "no second document");
    for (id, document) in stage.documents().await {
        let planner_id = document["_sync"]["planner_id"].as_str().unwrap();
        assert_eq!(stage.redis.get::<_, String>(keys::sync_rmap(planner_id)).await.unwrap(), id);
    }
}

#[tokio::test]
async fn the_loss_of_the_syncs_own_keys_doubles_nothing() {
    let mut stage = Losses::start().await.with_tasks(5).await;
    let (titles, writes, epoch) = (stage.titles(), stage.writes(), stage.epoch().await);
    let ids = stage.ids().await;
    stage.forget("annika:sync:*").await;
    stage.whole_after(epoch).await;
    stage.at_rest().await;
    assert_eq!((stage.titles(), stage.writes(), stage.ids().await), (titles, writes, ids));
    // And what is edited now still arrives.
    let mut document = stage.documents().await.remove(0).1;
    document["title"] = json!("task 0, edited");
    stage.set("t-0", &document).await;
    within("the edit", async || stage.titles().contains(&"task 0, edited".to_owned())).await;
    assert_eq!(stage.tasks().len(), 5);
}

#[tokio::test]
async fn documents_without_stamps_find_their_tasks_by_the_seed_maps_in_every_form() {
    let mut stage = Losses::start().await.with_tasks(4).await;
    let (titles, epoch) = (stage.titles(), stage.epoch().await);
    let documents = stage.documents().await;
    stage.forget("annika:planner:*").await;
    stage.forget("annika:task:mapping:*").await;
    for (n, (id, document)) in documents.into_iter().enumerate() {
        let planner_id = document["_sync"]["planner_id"].as_str().unwrap().to_owned();
        let mut document = document;
        document.as_object_mut().unwrap().remove("_sync");
        // Not to be found by its title.
        document["title"] = json!(format!("renamed {n}"));
        let both = json!({"annika_id": id, "planner_id": planner_id}).to_string();
        let (key, text) = match n {
            0 => (keys::planner_id_map(&id), both),
            1 => (keys::task_mapping(&id), planner_id),
            2 => (keys::task_mapping_planner(&planner_id), id.clone()),
            _ => (keys::planner_id_map(&planner_id), id.clone()),
        };
        let () = stage.redis.set(key, text).await.unwrap();
        stage.forget(&keys::sync_state(&id)).await;
        stage.set(&id, &document).await;
    }
    stage.forget("annika:sync:*").await;
    stage.whole_after(epoch).await;
    stage.at_rest().await;
    assert_eq!(stage.tasks().len(), titles.len(), "{:?}", stage.titles());
    assert_eq!(stage.ids().await, ["t-0", "t-1", "t-2", "t-3"]);
}

#[tokio::test]
async fn the_loss_of_the_documents_is_guarded_and_a_rebuild_brings_them_back() {
    let mut stage = Losses::start().await.with_tasks(8).await;
    let (titles, writes) = (stage.titles(), stage.writes());
    stage.forget("annika:tasks:*").await;
    let mut redis = stage.redis.clone();
    within("all are held", async || redis.zcard::<_, usize>(keys::sync_guard_held("up")).await.unwrap() == 8)
        .await;
    stage.at_rest().await;
    assert_eq!((stage.titles(), stage.writes()), (titles.clone(), writes), "not one is deleted");
    let [(_, up), (_, down)] = guarded(&store_for(&stage.server), 0).await.unwrap();
    assert_eq!((up.held, down.held), (8, 0));

    let epoch = stage.epoch().await;
    rebuild(&store_for(&stage.server)).await.unwrap();
    stage.whole_after(epoch).await;
    stage.at_rest().await;
    assert_eq!(stage.ids().await.len(), 8);
    assert_eq!((stage.titles(), stage.writes()), (titles, writes));
    assert_eq!(
        redis.zcard::<_, usize>(keys::sync_guard_held("up")).await.unwrap(),
        0,
        "nothing is held any more"
    );
}

#[tokio::test]
async fn a_few_plain_deletions_go_through_and_a_person_releases_the_rest() {
    let mut stage = Losses::start().await.with_tasks(8).await;
    for n in 0..2 {
        stage.forget(&keys::task(&format!("t-{n}"))).await;
    }
    within("two are deleted", async || stage.tasks().len() == 6).await;
    for n in 2..4 {
        stage.forget(&keys::task(&format!("t-{n}"))).await;
    }
    let mut redis = stage.redis.clone();
    within("two are held", async || redis.zcard::<_, usize>(keys::sync_guard_held("up")).await.unwrap() == 2)
        .await;
    stage.at_rest().await;
    assert_eq!(stage.tasks().len(), 6, "four in a day are one too many");
    // What an agent says that it deleted is no inference.
    let mut set = redis::pipe();
    set.del(keys::task("t-7")).hset(keys::sync_state("t-7"), "del", 1);
    let () = set.query_async(&mut redis).await.unwrap();
    within("the stated one", async || stage.tasks().len() == 5).await;
    assert_eq!(release(&store_for(&stage.server), Direction::Up).await, Ok(2));
    within("the released ones", async || stage.tasks().len() == 3).await;
    assert_eq!(redis.zcard::<_, usize>(keys::sync_guard_held("up")).await.unwrap(), 0);
}

#[tokio::test]
async fn an_error_of_redis_is_no_lost_epoch_and_progress_is_told() {
    let mut stage = Losses::start().await.with_tasks(2).await;
    let epoch = stage.epoch().await;
    assert_eq!(stage.engine.report().rebuild, None);
    stage.server.kill9();
    within("the engine notices", async || {
        stage.engine.report().counters.get("store_errors").copied().unwrap_or(0) > 3
    })
    .await;
    assert_eq!(stage.engine.report().rebuild, None, "an error says nothing");
    stage.server.restart().await.unwrap();
    // This Redis keeps nothing on disk: now the epoch is proven to be gone.
    stage.redis = stage.server.connect().await.unwrap();
    let mut seen = None;
    within("a rebuild is told", async || {
        seen = stage.engine.report().rebuild.or(seen.take());
        seen.is_some()
    })
    .await;
    let RebuildProgress { rounds, .. } = seen.unwrap();
    assert!(rounds < 2);
    stage.whole_after(epoch).await;
    assert_eq!(stage.tasks().len(), 2);
}

impl Losses {
    /// Six tasks, then FLUSHALL, and everything imported again; the documents as they were, in order.
    async fn wiped(count: usize) -> (Self, Vec<(String, Value)>) {
        let mut stage = Self::start().await.with_tasks(count).await;
        let documents = stage.documents().await;
        let epoch = stage.epoch().await;
        stage.flush().await;
        stage.whole_after(epoch).await;
        stage.at_rest().await;
        (stage, documents)
    }

    fn failed_code(entry: &str) -> String {
        let entry: Value = serde_json::from_str(entry).unwrap();
        entry["code"].as_str().unwrap().to_owned()
    }
}

fn planner_id(document: &Value) -> String {
    document["_sync"]["planner_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_old_document_that_is_written_after_the_rebuild_gets_its_task_back() {
    let (mut stage, documents) = Losses::wiped(2).await;
    let titles = stage.titles();
    let (id, document) = &documents[0];
    let planner_id = planner_id(document);
    let imported = format!("planner-{planner_id}");
    assert!(stage.ids().await.contains(&imported));
    stage.set(id, document).await;
    let mut redis = stage.redis.clone();
    within("the document has its task back", async || {
        let owner: Option<String> = redis.get(keys::sync_rmap(&planner_id)).await.unwrap();
        owner.as_ref() == Some(id)
    })
    .await;
    stage.at_rest().await;
    let ids = stage.ids().await;
    assert!(ids.contains(id) && !ids.contains(&imported) && ids.len() == 2, "{ids:?}");
    assert_eq!(stage.titles(), titles);
    let kept = stage.documents().await.into_iter().find(|(of, _)| of == id).unwrap().1;
    assert_eq!(kept["mine"], document["mine"], "with what only agents know");
    assert!(!redis.exists::<_, bool>(keys::sync_tomb(&imported)).await.unwrap(), "nothing to bring back");
    // And it is synced as before.
    let mut edited = kept;
    edited["title"] = json!("written again");
    stage.set(id, &edited).await;
    within("the edit", async || stage.titles().contains(&"written again".to_owned())).await;
    assert_eq!(stage.tasks().len(), 2);
}

#[tokio::test]
async fn an_imported_document_that_was_edited_stays_and_the_old_one_is_told_what_to_do() {
    let (mut stage, documents) = Losses::wiped(1).await;
    let (id, document) = &documents[0];
    let imported = format!("planner-{}", planner_id(document));
    let mut edited = stage.documents().await.remove(0).1;
    edited["title"] = json!("edited since");
    stage.set(&imported, &edited).await;
    within("the edit", async || stage.titles() == ["edited since"]).await;
    stage.set(id, document).await;
    let mut redis = stage.redis.clone();
    within("it is listed", async || {
        let failed: Vec<String> = redis.lrange(keys::sync_failed(), 0, -1).await.unwrap();
        failed.iter().map(|entry| Losses::failed_code(entry)).eq(["mapped_elsewhere"])
    })
    .await;
    stage.at_rest().await;
    assert_eq!(stage.titles(), ["edited since"], "one task, and the edit stands");
    assert_eq!(stage.ids().await.len(), 2);
    let mut bare = document.clone();
    bare.as_object_mut().unwrap().remove("_sync");
    stage.set(id, &bare).await;
    within("a task of its own", async || stage.titles() == ["edited since", "task 0"]).await;
    within("nothing failed", async || redis.llen::<_, usize>(keys::sync_failed()).await.unwrap() == 0).await;
}

#[tokio::test]
async fn a_copy_of_an_imported_document_is_a_new_task() {
    let (mut stage, _) = Losses::wiped(1).await;
    let (imported, document) = stage.documents().await.remove(0);
    stage.set("copy", &document).await;
    within("a second task", async || stage.tasks().len() == 2).await;
    stage.at_rest().await;
    assert_eq!(stage.ids().await, ["copy".to_owned(), imported]);
    assert_eq!(stage.tasks().len(), 2);
}

#[tokio::test]
async fn a_task_that_was_taken_for_deleted_and_is_seen_alive_comes_back_under_its_own_id() {
    let mut stage = Losses::start().await.with_tasks(1).await;
    let document = stage.documents().await.remove(0).1;
    let planner_id = planner_id(&document);
    // What a deletion leaves behind when the time has run out in which a list may be stale.
    let mut buried = redis::pipe();
    buried
        .atomic()
        .set(keys::sync_tomb("t-0"), document.to_string())
        .set(keys::sync_dead(&planner_id), "t-0")
        .del(keys::task("t-0"))
        .del(keys::sync_state("t-0"))
        .del(keys::sync_rmap(&planner_id))
        .hdel(keys::sync_index(), "t-0")
        .hdel(keys::sync_remote(seed::PLAN), &planner_id);
    let () = buried.query_async(&mut stage.redis).await.unwrap();
    let mut redis = stage.redis.clone();
    within("it is back", async || redis.exists::<_, bool>(keys::task("t-0")).await.unwrap()).await;
    stage.at_rest().await;
    let (id, back) = stage.documents().await.remove(0);
    assert_eq!((id.as_str(), &back["title"], &back["mine"]), ("t-0", &document["title"], &document["mine"]));
    assert_eq!((stage.ids().await.len(), stage.tasks().len()), (1, 1));
    assert!(!redis.exists::<_, bool>(keys::sync_tomb("t-0")).await.unwrap(), "it lives: nothing is kept");
}

#[tokio::test]
async fn a_restored_task_is_made_in_planner_anew() {
    let mut stage = Losses::start().await.with_tasks(2).await;
    let document = stage.documents().await.remove(0).1;
    let before = planner_id(&document);
    let mut deleted = redis::pipe();
    deleted.del(keys::task("t-0"));
    let () = deleted.query_async(&mut stage.redis).await.unwrap();
    within("it is deleted in Planner", async || stage.tasks().len() == 1).await;
    stage.at_rest().await;
    let page = annika::planner::tombs(&store_for(&stage.server), 0, 10).await.unwrap();
    assert_eq!(page.tombs[0].planner_id.as_ref(), Some(&before));
    let copy: String = stage.redis.get(keys::sync_tomb_planner("t-0")).await.unwrap();
    let copy: Value = serde_json::from_str(&copy).unwrap();
    assert_eq!((&copy["task"]["title"], &copy["direction"]), (&json!("task 0"), &json!("up")));
    assert!(copy["task"]["details"].is_object(), "Planner's description and checklist are kept: {copy}");

    let restored = annika::planner::restore(&store_for(&stage.server), "t-0").await;
    assert_eq!(restored, Ok(annika::planner::Restored::Restored));
    within("it is in Planner again", async || stage.titles() == ["task 0", "task 1"]).await;
    stage.at_rest().await;
    let document = stage.documents().await.remove(0).1;
    assert_ne!(planner_id(&document), before);
    assert_eq!(stage.tasks().len(), 2);
}
