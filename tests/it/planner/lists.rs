//! What a complete list leaves behind: observed, new, moved and gone tasks, notes, held tasks, details.

use std::{collections::BTreeMap, time::Duration};

use annika::{keys, planner::OBSERVE, store::Store};
use annika_sync::{
    blocks::{Blocks, Full, Refused},
    state::{Create, TaskState},
    world::{KnownPlan, Observation, PlanSchedule, Quota, RemoteCopy, Report, SeenDetails, World},
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Stage, done, mapped};

fn task(id: &str, etag: &str) -> Value {
    json!({"id": id, "@odata.etag": etag, "title": format!("title of {id}"), "planId": "L"})
}

fn seen(changed: Vec<Value>) -> Observation {
    Observation { plan: "L".into(), begun_at: 1, total: changed.len(), changed, ..Observation::default() }
}

impl Stage {
    /// A task that is mapped to `planner_id` and at rest.
    async fn mapped(&mut self, id: &str, planner_id: &str) {
        let claim = self.claimed(id, r#"{"title":"A"}"#).await;
        let mut commit = done(&claim);
        commit.remote = Some(mapped(planner_id, "L"));
        commit.state = Some(TaskState { planner_id: Some(planner_id.into()), ..TaskState::default() });
        self.commit(commit).await;
        assert!(self.due().await.is_empty());
    }
}

#[tokio::test]
async fn a_listed_task_that_is_mapped_makes_its_task_due() {
    let mut stage = Stage::start().await;
    stage.mapped("t", "P-1").await;
    let () = stage.redis.hset(keys::sync_state("t"), "absent", 2).await.unwrap();
    stage.world.observe(seen(vec![task("P-1", "W/\"9\"")])).await.unwrap();
    assert_eq!(stage.due().await, ["t"]);
    assert_eq!(stage.field(&keys::sync_remote("L"), "P-1").await.as_deref(), Some("W/\"9\""));
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert_eq!(snapshot.observed_etag.as_deref(), Some("W/\"9\""));
    assert_eq!(snapshot.absent_lists, 0, "it is there again");
    let known = known(&stage, "L").await;
    assert_eq!(known.etags, BTreeMap::from([("P-1".into(), "W/\"9\"".into())]));
}

#[tokio::test]
async fn a_listed_task_that_is_new_becomes_one_task_however_many_processes_see_it() {
    let mut stage = Stage::start().await;
    let polls = (0..4).map(|_| {
        let world = stage.other_world();
        tokio::spawn(async move { world.observe(seen(vec![task("P-2", "W/\"1\"")])).await.unwrap() })
    });
    for poll in polls.collect::<Vec<_>>() {
        poll.await.unwrap();
    }
    assert_eq!(stage.text(&keys::sync_rmap("P-2")).await.as_deref(), Some("planner-P-2"));
    assert_eq!(stage.due().await, ["planner-P-2"]);
    let snapshot = stage.world.load(&["planner-P-2".to_owned()]).await.unwrap().remove(0);
    assert_eq!(snapshot.state.planner_id.as_deref(), Some("P-2"));
    assert_eq!(snapshot.observed.unwrap()["title"], "title of P-2");
    let ttl: i64 = stage.redis.ttl(keys::planner_task("P-2")).await.unwrap();
    assert!((3_590..=3_600).contains(&ttl), "{ttl}");
}

async fn known(stage: &Stage, plan: &str) -> KnownPlan {
    stage.world.known(&[plan.to_owned()]).await.unwrap().remove(0)
}

#[tokio::test]
async fn what_is_known_of_several_plans_comes_in_their_order() {
    let stage = Stage::start().await;
    let of = |plan: &str, id: &str| Observation { plan: plan.into(), ..seen(vec![task(id, "W/\"1\"")]) };
    stage.world.observe(of("M", "P-m")).await.unwrap();
    stage.world.observe(of("L", "P-l")).await.unwrap();
    let plans = ["L", "nothing", "M"].map(str::to_owned);
    let known = stage.world.known(&plans).await.unwrap();
    let ids: Vec<Vec<&String>> = known.iter().map(|plan| plan.etags.keys().collect()).collect();
    assert_eq!(ids, [vec!["P-l"], vec![], vec!["P-m"]]);
}

#[tokio::test]
async fn a_successor_goes_on_with_the_schedule_of_each_plan() {
    let stage = Stage::start().await;
    let plans = ["L", "M"].map(str::to_owned);
    let nothing = PlanSchedule::default();
    assert_eq!(stage.world.schedules(&plans).await.unwrap(), [nothing, nothing]);
    let of_m = PlanSchedule { begun_at: 1, changed_at: 2, next_at: 3, requests: 4, failures: 5 };
    stage.world.keep_schedules(&[("M".to_owned(), of_m)]).await.unwrap();
    stage.world.observe(Observation { plan: "M".into(), ..seen(vec![]) }).await.unwrap();
    assert_eq!(stage.other_world().schedules(&plans).await.unwrap(), [nothing, of_m]);
}

#[tokio::test]
async fn a_full_redis_keeps_the_schedule_of_its_plans() {
    let mut stage = Stage::start().await;
    let full = |bytes: usize| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).clone();
    let _: redis::Value = full(1).query_async(&mut stage.redis).await.unwrap();
    let of_m = PlanSchedule { begun_at: 1, changed_at: 2, next_at: 3, requests: 4, failures: 5 };
    stage.world.keep_schedules(&[("M".to_owned(), of_m)]).await.unwrap();
    stage.world.rotated("M", "P-7").await.unwrap();
    stage.world.observe(Observation { plan: "M".into(), ..seen(vec![]) }).await.unwrap();
    assert_eq!(stage.other_world().schedules(&["M".to_owned()]).await.unwrap(), [of_m]);
    let cursor: String = stage.redis.hget(keys::sync_poll("M"), "details_cursor").await.unwrap();
    assert_eq!(cursor, "P-7");
}

#[tokio::test]
async fn a_full_redis_takes_the_engines_health() {
    let mut stage = Stage::start().await;
    stage.world.report(&Report::default()).await.unwrap();
    let before = stage.text(keys::sync_health()).await.unwrap();
    let _: redis::Value =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).query_async(&mut stage.redis).await.unwrap();
    let report = Report { plans: 7, ..Report::default() };
    stage.world.report(&report).await.unwrap();
    let after = stage.text(keys::sync_health()).await.unwrap();
    assert!(!before.contains("\"plans\":7") && after.contains("\"plans\":7"), "{after}");
    let ttl: i64 = stage.redis.ttl(keys::sync_health()).await.unwrap();
    assert!((290..=300).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn what_stands_against_a_plan_is_kept_for_the_next_engine_for_a_day_also_when_redis_is_full() {
    let mut stage = Stage::start().await;
    assert_eq!(stage.world.blocks().await.unwrap(), BTreeMap::new());
    let refused = Refused { status: 403, since: 1, until: 2, times: 3 };
    let full = Full { code: "MaximumTasksInProject".into(), since: 4, until: 5, times: 6, told: "a".into() };
    let [one, two] =
        [Blocks { refused: Some(refused), full: None }, Blocks { refused: None, full: Some(full) }];
    stage.world.keep_blocks("L", &one).await.unwrap();
    let _: redis::Value =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).query_async(&mut stage.redis).await.unwrap();
    stage.world.keep_blocks("M", &two).await.unwrap();
    let kept = stage.other_world().blocks().await.unwrap();
    assert_eq!(kept, BTreeMap::from([("L".to_owned(), one), ("M".to_owned(), two)]));
    let ttl: i64 = stage.redis.ttl(keys::sync_blocks()).await.unwrap();
    assert!((86_390..=86_400).contains(&ttl), "{ttl}");
    stage.world.keep_blocks("L", &Blocks::default()).await.unwrap();
    stage.world.keep_blocks("M", &Blocks::default()).await.unwrap();
    assert!(!stage.exists(keys::sync_blocks()).await, "nothing is left of plans that nothing stands against");
}

/// The observe call of a process that looked at the map before somebody else wrote it.
async fn observed_late(store: &Store, planner_id: &str, owner: &str, id: &str) -> String {
    let call = OBSERVE
        .call()
        .key(keys::sync_rmap(planner_id))
        .key(keys::planner_task(planner_id))
        .key(keys::sync_state(id))
        .key(keys::sync_due())
        .key(keys::sync_pending())
        .key(keys::sync_remote("L"))
        .key(keys::sync_gone(planner_id))
        .key(keys::sync_epoch());
    let args = [owner, id, planner_id, "W/\"1\"", "{}", "60", "mirror", "{}", "*"];
    let call = args.iter().fold(call, |call, arg| call.arg(arg));
    redis::from_redis_value(store.run(&call).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_create_that_was_committed_meanwhile_is_not_imported_as_a_second_task() {
    let mut stage = Stage::start().await;
    stage.mapped("t", "P-3").await;
    let before = stage.dump().await;
    assert_eq!(observed_late(&stage.store(), "P-3", "", "planner-P-3").await, "moved");
    assert_eq!(stage.dump().await, before);
    assert_eq!(observed_late(&stage.store(), "P-3", "t", "t").await, "marked");
}

#[tokio::test]
async fn a_stale_list_does_not_bring_a_deleted_task_back() {
    let mut stage = Stage::start().await;
    let () = stage.redis.set_ex(keys::sync_gone("P-4"), "t", 100).await.unwrap();
    let before = stage.dump().await;
    assert_eq!(observed_late(&stage.store(), "P-4", "", "planner-P-4").await, "gone");
    assert_eq!(stage.dump().await, before);
    stage.world.observe(seen(vec![task("P-4", "W/\"1\"")])).await.unwrap();
    assert!(stage.due().await.is_empty() && !stage.exists(&keys::sync_rmap("P-4")).await);
    let held = vec![task("P-4", "W/\"1\""), task("P-5", "W/\"1\"")];
    stage.world.observe(Observation { held, begun_at: 2, ..seen(Vec::new()) }).await.unwrap();
    let kept: Vec<String> = stage.redis.hkeys(keys::sync_orphans()).await.unwrap();
    let kept: Vec<&String> = kept.iter().filter(|field| field.starts_with("task")).collect();
    assert_eq!(kept, ["task\nL\nP-5"], "no open create adopts it either");
}

#[tokio::test]
async fn absence_is_counted_and_told_and_ends_with_the_next_sight() {
    let mut stage = Stage::start().await;
    stage.mapped("t", "P-1").await;
    let missing = BTreeMap::from([("P-1".to_owned(), 2)]);
    stage.world.observe(Observation { missing: missing.clone(), ..seen(Vec::new()) }).await.unwrap();
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert_eq!(snapshot.absent_lists, 2);
    assert_eq!(stage.due().await, ["t"]);
    assert_eq!(known(&stage, "L").await.missing, missing);
    stage.world.observe(Observation { reappeared: vec!["P-1".into()], ..seen(Vec::new()) }).await.unwrap();
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert_eq!(snapshot.absent_lists, 0);
    assert!(known(&stage, "L").await.missing.is_empty());
}

#[tokio::test]
async fn an_absent_planner_task_that_is_no_tasks_is_forgotten() {
    let mut stage = Stage::start().await;
    let () = stage.redis.hset(keys::sync_remote("L"), "P-9", "W/\"1\"").await.unwrap();
    let missing = BTreeMap::from([("P-9".to_owned(), 1)]);
    stage.world.observe(Observation { missing, ..seen(Vec::new()) }).await.unwrap();
    assert!(known(&stage, "L").await.etags.is_empty());
    assert!(stage.due().await.is_empty());
}

fn details(etag: &str, empty: bool) -> Vec<SeenDetails> {
    let seen = |id: &str| SeenDetails { planner_id: id.to_owned(), etag: etag.to_owned(), empty };
    vec![seen("P-1"), seen("unknown")]
}

#[tokio::test]
async fn details_at_another_etag_are_noted_and_the_same_etag_is_not() {
    let mut stage = Stage::start().await;
    stage.mapped("t", "P-1").await;
    stage.world.recheck_details(&details("W/\"d1\"", false)).await.unwrap();
    assert!(stage.due().await.is_empty());
    stage.world.recheck_details(&details("W/\"d2\"", true)).await.unwrap();
    assert_eq!(stage.due().await, ["t"], "another ETag is looked at, empty or not");
    assert!(stage.world.load(&["t".to_owned()]).await.unwrap()[0].recheck_details);
    stage.world.rotated("L", "P-1").await.unwrap();
    assert_eq!(known(&stage, "L").await.details_cursor, "P-1");
}

#[tokio::test]
async fn the_first_sight_of_empty_details_is_only_remembered_and_of_others_looked_at() {
    let mut stage = Stage::start().await;
    stage.mapped("t", "P-1").await;
    let () = stage.redis.del(keys::planner_etag_details("P-1")).await.unwrap();
    stage.world.recheck_details(&details("W/\"d1\"", true)).await.unwrap();
    assert!(stage.due().await.is_empty());
    assert_eq!(stage.text(&keys::planner_etag_details("P-1")).await.as_deref(), Some("W/\"d1\""));
    assert!(!stage.exists(&keys::planner_etag_details("unknown")).await);
    let () = stage.redis.del(keys::planner_etag_details("P-1")).await.unwrap();
    stage.world.recheck_details(&details("W/\"d1\"", false)).await.unwrap();
    assert_eq!(stage.due().await, ["t"]);
}

#[tokio::test]
async fn a_held_task_is_kept_for_the_open_create_that_may_explain_it_and_not_for_ever() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", r#"{"title":"A"}"#).await;
    let create = Create { plan: "M".into(), sent_at: 1, unresolved: true, ..Create::default() };
    let mut open = done(&claim);
    open.state = Some(TaskState { create: Some(create), ..TaskState::default() });
    stage.commit(open).await;
    assert!(stage.due().await.is_empty());
    let held = vec![task("P-7", "W/\"1\"")];
    stage.world.observe(Observation { held, ..seen(Vec::new()) }).await.unwrap();
    assert!(!stage.exists(&keys::sync_rmap("P-7")).await, "it is not imported");
    let ttl: i64 = stage.redis.ttl(keys::sync_orphans()).await.unwrap();
    assert!((86_000..=86_400).contains(&ttl), "{ttl}");
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert_eq!((snapshot.orphans.len(), snapshot.open_creates.len()), (1, 1));
    assert_eq!(snapshot.orphans[0]["id"], "P-7", "also from another plan than the create's");
    let claim = stage.claimed("u", r#"{"title":"A"}"#).await;
    let mut adopts = done(&claim);
    adopts.remote = Some(mapped("P-7", "L"));
    stage.commit(adopts).await;
    assert!(stage.world.load(&["t".to_owned()]).await.unwrap()[0].orphans.is_empty());
}

#[tokio::test]
async fn lists_that_held_nothing_count_from_the_older_of_the_last_two() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", r#"{"title":"A"}"#).await;
    let mut open = done(&claim);
    let create = Create { plan: "L".into(), sent_at: 1, ..Create::default() };
    open.state = Some(TaskState { create: Some(create), ..TaskState::default() });
    stage.commit(open).await;
    let since = async |stage: &Stage, begun_at, held: &[&str]| {
        let held = held.iter().map(|id| task(id, "W/\"1\"")).collect();
        stage.world.observe(Observation { begun_at, held, ..seen(Vec::new()) }).await.unwrap();
        let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
        (snapshot.clean_since.get("L").copied(), snapshot.orphans.len())
    };
    assert_eq!(since(&stage, 1_000, &[]).await, (None, 0), "one list is not enough");
    assert_eq!(since(&stage, 2_000, &[]).await, (Some(1_000), 0));
    assert_eq!(since(&stage, 3_000, &[]).await, (Some(2_000), 0));
    assert_eq!(since(&stage, 3_000, &["P-1"]).await, (Some(2_000), 0), "the same list again");
    assert_eq!(since(&stage, 2_500, &["P-1"]).await, (Some(2_000), 0), "a list that comes late");
    assert_eq!(since(&stage, 4_000, &["P-1", "P-2"]).await, (None, 2), "it begins anew");
    assert_eq!(since(&stage, 5_000, &["P-2"]).await, (None, 1));
    assert_eq!(since(&stage, 6_000, &[]).await, (None, 0));
    assert_eq!(since(&stage, 7_000, &[]).await, (Some(6_000), 0));
}

#[tokio::test]
async fn a_long_list_is_taken_in_by_few_round_trips() {
    let stage = Stage::start().await;
    let tasks: Vec<Value> = (0..1_200).map(|n| task(&format!("P-{n}"), "W/\"1\"")).collect();
    stage.world.observe(seen(tasks)).await.unwrap();
    let claimed = stage.world.claim(Quota::each(2_000), Duration::from_secs(60)).await.unwrap();
    assert_eq!(claimed.claims.len(), 1_200);
}

#[tokio::test]
async fn a_task_that_left_for_another_plan_is_no_longer_expected_in_its_old_one() {
    let mut stage = Stage::start().await;
    let listed = |plan: &str| Observation { plan: plan.to_owned(), ..seen(vec![task("P-1", "W/\"1\"")]) };
    stage.world.observe(listed("L")).await.unwrap();
    let moved = Observation { moved: vec!["P-1".to_owned()], ..seen(Vec::new()) };
    stage.world.observe(moved).await.unwrap();
    assert!(known(&stage, "L").await.etags.is_empty());
    stage.world.observe(listed("L")).await.unwrap();
    let claim = stage.claimed("planner-P-1", r#"{"title":"A"}"#).await;
    let mut commit = done(&claim);
    commit.remote = Some(RemoteCopy { left: Some("L".to_owned()), ..mapped("P-1", "M") });
    stage.commit(commit).await;
    assert!(known(&stage, "L").await.etags.is_empty());
    assert_eq!(known(&stage, "M").await.etags.len(), 1);
}
