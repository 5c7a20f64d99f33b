//! The commit script: fence, comparison, all or nothing, what comes next, the failed list and the maps.

use std::time::Duration;

use annika::keys;
use annika_devkit::{
    oracle,
    redis_server::{RedisOptions, redis_json_module},
};
use annika_sync::{
    lens::{Field, Value as Lens},
    state::{Create, Failure, TaskState, digest},
    world::{Commit, CommitResult, Local, LocalWrite, Next, Quota, Unmapped, World},
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Stage, document, done, mapped, write};

const A: &str = r#"{"id":"t","title":"A"}"#;
const B: &str = r#"{"id":"t","title":"B","list":[],"big":123456789012345678901}"#;

#[tokio::test]
async fn a_document_that_is_not_what_was_read_stops_the_whole_commit() {
    for (there, expected) in [
        (Some(r#"{"id":"t","title":"Z"}"#), Some(A)),
        (Some(r#"{"id":"t", "title":"A"}"#), Some(A)),
        (None, Some(A)),
        (Some(A), None),
    ] {
        let mut stage = Stage::start().await;
        let claim = stage.claimed_missing("t").await;
        match there {
            Some(text) => stage.redis.set(keys::task("t"), text).await.unwrap(),
            None => stage.redis.del(keys::task("t")).await.unwrap(),
        }
        let before = stage.dump().await;
        let mut commit = done(&claim);
        commit.write = Some(write(expected, Some(B)));
        commit.document = Some(document(B));
        commit.remote = Some(mapped("P-1", "L-1"));
        assert_eq!(stage.commit(commit).await, CommitResult::LocalChanged, "{there:?}");
        assert_eq!(stage.dump().await, before, "{there:?}: nothing is stored");
        assert_eq!(stage.commit(done(&claim)).await, CommitResult::Stored);
    }
}

#[tokio::test]
async fn a_commit_writes_exact_bytes_and_keeps_the_expiry() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let () = stage.redis.expire(keys::task("t"), 500).await.unwrap();
    let mut commit = done(&claim);
    commit.write = Some(write(Some(A), Some(B)));
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    assert_eq!(stage.text(&keys::task("t")).await.as_deref(), Some(B));
    let ttl: i64 = stage.redis.ttl(keys::task("t")).await.unwrap();
    assert!((490..=500).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_new_document_is_written_only_where_there_is_none() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed_missing("t").await;
    let mut commit = done(&claim);
    commit.write = Some(write(None, Some(A)));
    commit.document = Some(document(A));
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    assert_eq!(stage.text(&keys::task("t")).await.as_deref(), Some(A));
    let listed: Vec<String> = stage.redis.zrange(keys::tasks_index("all"), 0, -1).await.unwrap();
    assert_eq!(listed, ["t"], "and it stands in the lists");
}

#[tokio::test]
async fn a_key_of_another_type_is_never_overwritten() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed_missing("t").await;
    let () = stage.redis.rpush(keys::task("t"), "x").await.unwrap();
    let before = stage.dump().await;
    for expected in [None, Some(A)] {
        let mut commit = done(&claim);
        commit.write = Some(write(expected, Some(B)));
        assert_eq!(stage.commit(commit).await, CommitResult::LocalChanged);
        assert_eq!(stage.dump().await, before);
    }
}

#[tokio::test]
async fn a_full_redis_refuses_what_makes_a_document_or_begins_a_create_and_lets_the_rest_finish() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let fresh = stage.claimed_missing("u").await;
    let _: () =
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).query_async(&mut stage.redis).await.unwrap();
    let before = stage.dump().await;
    let mut import = done(&fresh);
    import.write = Some(write(None, Some(B)));
    let mut create = done(&fresh);
    (create.durable, create.next) = (true, Next::Hold);
    for refused in [&import, &create] {
        let results = stage.world.commit(vec![refused.clone()]).await.unwrap();
        assert_eq!(results, [CommitResult::Failed]);
        assert_eq!(stage.dump().await, before, "nothing of it is stored");
    }
    // What Graph has answered must be stored, or it would be done twice.
    let mut commit = done(&claim);
    commit.write = Some(write(Some(A), Some(B)));
    commit.remote = Some(mapped("P-1", "L-1"));
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    assert_eq!(stage.text(&keys::task("t")).await.as_deref(), Some(B));
    let _: () =
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).query_async(&mut stage.redis).await.unwrap();
    assert_eq!(stage.commit(import).await, CommitResult::Stored, "the same step goes through later");
}

#[tokio::test]
async fn steps_of_several_tasks_do_not_depend_on_each_other() {
    let mut stage = Stage::start().await;
    let good = stage.claimed("a", A).await;
    let moved = stage.claimed("b", A).await;
    let mut lost = stage.claimed("c", A).await;
    lost.fence += 1_000;
    let mut second = done(&moved);
    second.write = Some(write(Some(B), Some(A)));
    let results = stage.world.commit(vec![done(&good), second, done(&lost)]).await.unwrap();
    assert_eq!(results, [CommitResult::Stored, CommitResult::LocalChanged, CommitResult::LeaseLost]);
    assert_eq!(stage.due().await.len(), 2);
}

#[tokio::test]
async fn results_keep_the_order_of_the_commits_where_creates_go_another_way() {
    let mut stage = Stage::start().await;
    let mut commits = Vec::new();
    for n in 0..6 {
        let mut claim = stage.claimed(&format!("t-{n}"), A).await;
        if n % 3 == 0 {
            claim.fence += 1_000;
        }
        let mut commit = done(&claim);
        commit.durable = n % 2 == 0;
        commits.push(commit);
    }
    let results = stage.world.commit(commits).await.unwrap();
    let lost: Vec<bool> = results.iter().map(|result| *result == CommitResult::LeaseLost).collect();
    assert_eq!(lost, [true, false, false, true, false, false]);
}

#[tokio::test]
async fn hold_keeps_the_claim_and_after_gives_it_back_for_later() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let mut commit = done(&claim);
    commit.next = Next::Hold;
    assert_eq!(stage.commit(commit.clone()).await, CommitResult::Stored);
    assert!(stage.world.claim(Quota::each(20), Duration::from_secs(60)).await.unwrap().claims.is_empty());
    commit.next = Next::After(Duration::from_secs(30));
    assert_eq!(stage.commit(commit.clone()).await, CommitResult::Stored, "the fence still holds");
    let wait = stage.world.claim(Quota::each(20), Duration::from_secs(60)).await.unwrap().next_in.unwrap();
    assert!((Duration::from_secs(28)..=Duration::from_secs(30)).contains(&wait), "{wait:?}");
    assert_eq!(stage.list(keys::sync_pending()).await.len(), 1, "it still waits");
    assert_eq!(stage.commit(commit).await, CommitResult::LeaseLost, "the claim is gone");
}

#[tokio::test]
async fn a_mark_that_came_meanwhile_makes_after_and_done_due_at_once() {
    let mut stage = Stage::start().await;
    for next in [Next::After(Duration::from_secs(30)), Next::Done { hint: 1 }] {
        let claim = stage.claimed("t", A).await;
        let hint = stage.world.load(&["t".to_owned()]).await.unwrap()[0].hint;
        stage.world.mark(&["t".to_owned()], Duration::ZERO).await.unwrap();
        let mut commit = done(&claim);
        commit.hint = hint;
        commit.next = match next {
            Next::Done { .. } => Next::Done { hint },
            other => other,
        };
        assert_eq!(stage.commit(commit).await, CommitResult::StoredDueAgain);
    }
}

#[tokio::test]
async fn a_forgotten_task_leaves_nothing_but_its_grave() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let mut first = done(&claim);
    first.remote = Some(mapped("P-1", "L-1"));
    first.document = Some(document(A));
    first.state = Some(TaskState {
        planner_id: Some("P-1".into()),
        seen: Some("digest".into()),
        ..TaskState::default()
    });
    first.next = Next::Hold;
    assert_eq!(stage.commit(first).await, CommitResult::Stored);
    let mut last = done(&claim);
    last.state = None;
    last.write = Some(write(Some(A), None));
    last.unmap = Some(Unmapped { planner_id: "P-1".into(), plan: Some("L-1".into()) });
    assert_eq!(stage.commit(last).await, CommitResult::Stored);
    let mut left: Vec<String> = stage.dump().await.into_iter().map(|(key, _)| key).collect();
    left.retain(|key| !key.starts_with(&keys::sync_claimed("")));
    assert_eq!(
        left,
        [
            keys::sync_dead("P-1"),
            keys::sync_fence().to_owned(),
            keys::sync_gone("P-1"),
            keys::sync_tomb("t"),
            keys::sync_tomb_planner("t"),
            keys::sync_tombs().to_owned()
        ]
    );
    assert_eq!(stage.text(&keys::sync_tomb("t")).await.as_deref(), Some(A));
    let ttl: i64 = stage.redis.ttl(keys::sync_tomb("t")).await.unwrap();
    assert!((2_591_990..=2_592_000).contains(&ttl), "30 days: {ttl}");
    let ttl: i64 = stage.redis.ttl(keys::sync_gone("P-1")).await.unwrap();
    assert!((290..=300).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn both_maps_and_the_way_back_are_written_together_in_the_agreed_form() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let mut commit = done(&claim);
    commit.remote = Some(mapped("P-1", "L-1"));
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    let text = stage.text(&keys::planner_id_map("t")).await.unwrap();
    assert_eq!(stage.text(&keys::task_mapping("t")).await.as_ref(), Some(&text));
    assert_eq!(stage.text(&keys::task_mapping_planner("P-1")).await.as_ref(), Some(&text));
    assert_eq!(stage.text(&keys::sync_rmap("P-1")).await.as_deref(), Some("t"));
    let mut map: Value = serde_json::from_str(&text).unwrap();
    let created_at = map.as_object_mut().unwrap().remove("created_at").unwrap();
    assert!(created_at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{created_at}");
    assert_eq!(map, json!({"annika_id": "t", "planner_id": "P-1", "plan_id": "L-1"}));
    assert_eq!(stage.text(&keys::planner_etag("P-1")).await.as_deref(), Some("W/\"1\""));
    assert_eq!(stage.text(&keys::planner_etag_details("P-1")).await.as_deref(), Some("W/\"d1\""));
    assert_eq!(stage.field(&keys::sync_remote("L-1"), "P-1").await.as_deref(), Some("W/\"1\""));
    let ttl: i64 = stage.redis.ttl(keys::planner_task("P-1")).await.unwrap();
    assert!((3_590..=3_600).contains(&ttl), "{ttl}");
    // A later copy moves the ETags and leaves the maps as they are.
    let claim = stage.claimed_missing("t").await;
    let mut commit = done(&claim);
    (commit.hint, commit.next) = (2, Next::Done { hint: 2 });
    let mut copy = mapped("P-1", "L-1");
    (copy.newly_mapped, copy.etag) = (false, "W/\"2\"".into());
    commit.remote = Some(copy);
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    assert_eq!(stage.text(&keys::planner_id_map("t")).await, Some(text));
    assert_eq!(stage.text(&keys::planner_etag("P-1")).await.as_deref(), Some("W/\"2\""));
}

fn failing(code: &str, attempts: u32) -> TaskState {
    let failure = Failure {
        code: code.into(),
        message: "what to do".into(),
        since: 1_764_064_800_000,
        digest: "d".into(),
        retry_at: 0,
        attempts,
    };
    TaskState { failure: Some(failure), ..TaskState::default() }
}

#[tokio::test]
async fn the_failed_list_has_one_entry_a_task_that_is_replaced_and_cleared() {
    let mut stage = Stage::start().await;
    for id in ["t", "u"] {
        let claim = stage.claimed(id, A).await;
        let mut commit = done(&claim);
        commit.state = Some(failing("title_missing", 1));
        assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    }
    let entry = json!({"op": "create", "task_id": "t", "planner_id": null, "code": "title_missing",
        "error": "what to do", "attempts": 1, "first_at": "2025-11-25T10:00:00Z", "retry_at": null});
    let listed = stage.json_list(keys::sync_failed()).await;
    assert_eq!((listed.len(), &listed[0]), (2, &entry));
    for (state, codes) in [
        (failing("title_missing", 1), vec!["title_missing", "title_missing"]),
        (failing("graph_rejected", 2), vec!["title_missing", "graph_rejected"]),
        (TaskState::default(), vec!["title_missing"]),
    ] {
        let claim = stage.claimed_missing("t").await;
        let mut commit = done(&claim);
        commit.state = Some(state);
        stage.commit(commit).await;
        let listed = stage.json_list(keys::sync_failed()).await;
        let mut found: Vec<&str> = listed.iter().map(|entry| entry["code"].as_str().unwrap()).collect();
        found.sort_by_key(|code| *code == "graph_rejected");
        assert_eq!(found, codes);
    }
    // A task that is forgotten leaves the list too.
    let claim = stage.claimed_missing("u").await;
    let mut commit = done(&claim);
    commit.state = None;
    stage.commit(commit).await;
    assert!(stage.list(keys::sync_failed()).await.is_empty());
}

#[tokio::test]
async fn an_open_create_is_kept_until_it_is_explained() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let fields = [(Field::Title, Lens::Text("A".into()))].into_iter().collect();
    let create = Create { plan: "L-1".into(), fields, sent_at: 1_764_064_800_000, ..Create::default() };
    let mut begun = done(&claim);
    begun.state = Some(TaskState { create: Some(create.clone()), ..TaskState::default() });
    (begun.durable, begun.next) = (true, Next::Hold);
    assert_eq!(stage.commit(begun.clone()).await, CommitResult::Stored);
    let open = stage.world.open_creates().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].id.as_str(), &open[0].attempts), ("t", &create.attempts()));
    assert!(stage.list(keys::sync_failed()).await.is_empty(), "it is under way, not failed");

    begun.state =
        Some(TaskState { create: Some(Create { unresolved: true, ..create }), ..TaskState::default() });
    assert_eq!(stage.commit(begun).await, CommitResult::Stored);
    let listed = stage.json_list(keys::sync_failed()).await;
    assert_eq!((listed.len(), &listed[0]["code"]), (1, &json!("create_unresolved")));
    assert_eq!(listed[0]["first_at"], "2025-11-25T10:00:00Z");

    let mut explained = done(&claim);
    explained.had_create = true;
    explained.remote = Some(mapped("P-1", "L-1"));
    assert_eq!(stage.commit(explained).await, CommitResult::Stored);
    assert!(stage.world.open_creates().await.unwrap().is_empty());
    assert!(stage.list(keys::sync_failed()).await.is_empty());
}

#[tokio::test]
async fn settled_hints_are_dropped_and_others_stay() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let state = keys::sync_state("t");
    let () = stage
        .redis
        .hset_multiple(&state, &[("miss", "2"), ("del", "1"), ("absent", "3"), ("recheck", "1")])
        .await
        .unwrap();
    let mut commit = done(&claim);
    (commit.clear_missed, commit.next) = (true, Next::Hold);
    stage.commit(commit).await;
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert_eq!((snapshot.missed_sweeps, snapshot.delete_event, snapshot.absent_lists), (0, false, 3));
    assert!(snapshot.recheck_details);
    let mut commit = done(&claim);
    commit.clear_absent = true;
    stage.commit(commit).await;
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    assert_eq!((snapshot.absent_lists, snapshot.recheck_details), (0, false));
}

#[tokio::test]
async fn a_redisjson_value_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let module = match redis_json_module(folder.path()) {
        Ok(module) => module,
        Err(why) => return oracle::skip("a_redisjson_value_stays_one", &why.to_string()),
    };
    let args = vec!["--loadmodule".to_owned(), module.display().to_string()];
    let mut stage = Stage::start_with(RedisOptions { args, ..RedisOptions::default() }).await;
    let key = keys::task("t");
    let other = stage.server.connect().await.unwrap();
    let set = async |text: &str| {
        let mut redis = other.clone();
        let _: redis::Value = redis::cmd("JSON.SET")
            .arg(keys::task("t"))
            .arg("$")
            .arg(text)
            .query_async(&mut redis)
            .await
            .unwrap();
    };
    set(A).await;
    let claim = stage.claimed_missing("t").await;
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    let Local::Present { bytes, expires: false } = snapshot.local else { panic!("{:?}", snapshot.local) };
    // Somebody else's value is compared too.
    set(r#"{"id":"t","title":"Z"}"#).await;
    let mut commit = done(&claim);
    commit.write = Some(LocalWrite { expected: Some(bytes.clone()), new: Some(document(B)) });
    assert_eq!(stage.commit(commit.clone()).await, CommitResult::LocalChanged);
    set(A).await;
    assert_eq!(stage.commit(commit).await, CommitResult::Stored);
    let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut stage.redis).await.unwrap();
    assert_eq!(kind, "ReJSON-RL");
    let snapshot = stage.world.load(&["t".to_owned()]).await.unwrap().remove(0);
    let Local::Present { bytes, .. } = snapshot.local else { panic!("{:?}", snapshot.local) };
    let stored: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(stored["title"], "B");
    let () = stage.redis.hset(keys::sync_index(), "t", "old").await.unwrap();
    let page = stage.world.sweep_page(None).await.unwrap();
    assert_eq!((page.changed, page.missing), (vec!["t".to_owned()], Vec::new()), "the sweep reads it too");
}

#[tokio::test]
async fn a_deletion_is_not_begun_where_the_document_is_back_and_leaves_a_copy() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let mut delete = Commit { next: Next::Hold, expect_absent: true, ..done(&claim) };
    assert_eq!(stage.commit(delete.clone()).await, CommitResult::LocalChanged);
    let () = stage.redis.del(keys::task("t")).await.unwrap();
    assert_eq!(stage.commit(delete.clone()).await, CommitResult::Stored);
    delete = Commit { next: Next::Done { hint: 1 }, state: None, tomb: Some(document(B)), ..delete };
    assert_eq!(stage.commit(delete).await, CommitResult::Stored);
    let kept: String = stage.redis.get(keys::sync_tomb("t")).await.unwrap();
    assert_eq!(kept, B);
}

#[tokio::test]
async fn a_time_to_live_that_is_set_later_is_a_change_for_the_sweep() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let mut finished = done(&claim);
    finished.state = Some(TaskState { seen: Some(digest(A.as_bytes())), ..TaskState::default() });
    stage.commit(finished).await;
    assert!(stage.world.sweep_page(None).await.unwrap().changed.is_empty());
    let () = stage.redis.expire(keys::task("t"), 1_000).await.unwrap();
    assert_eq!(stage.world.sweep_page(None).await.unwrap().changed, ["t"]);
}

#[tokio::test]
async fn a_planner_task_is_mapped_to_one_document_only() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let mut first = done(&claim);
    first.remote = Some(mapped("P-1", "L-1"));
    assert_eq!(stage.commit(first).await, CommitResult::Stored);

    let claim = stage.claimed("u", A).await;
    let before = stage.dump().await;
    let mut second = done(&claim);
    second.remote = Some(mapped("P-1", "L-1"));
    second.write = Some(write(Some(A), Some(B)));
    assert_eq!(stage.commit(second.clone()).await, CommitResult::MappedElsewhere);
    assert_eq!(stage.dump().await, before, "nothing of it is stored");

    // Whoever ends a mapping that is another's leaves it alone.
    second.remote = None;
    second.unmap = Some(Unmapped { planner_id: "P-1".into(), plan: Some("L-1".into()) });
    assert_eq!(stage.commit(second).await, CommitResult::Stored);
    assert_eq!(stage.text(&keys::sync_rmap("P-1")).await.as_deref(), Some("t"));
    assert!(stage.exists(&keys::planner_etag("P-1")).await && !stage.exists(&keys::sync_gone("P-1")).await);

    let claim = stage.claimed_missing("t").await;
    let mut again = done(&claim);
    again.next = Next::After(Duration::ZERO);
    again.hint = 2;
    again.remote = Some(mapped("P-1", "L-1"));
    assert_eq!(stage.commit(again).await, CommitResult::Stored, "its own document may map it anew");
}

#[tokio::test]
async fn a_task_that_was_being_left_may_be_mapped_again_by_the_document_that_left_it() {
    let mut stage = Stage::start().await;
    let claim = stage.claimed("t", A).await;
    let mut moved = done(&claim);
    moved.remote = Some(mapped("P-2", "L-2"));
    moved.leaving = Some("P-1".into());
    moved.next = Next::Hold;
    assert_eq!(stage.commit(moved).await, CommitResult::Stored);
    assert_eq!(stage.text(&keys::sync_rmap("P-1")).await.as_deref(), Some("~t"));

    let other = stage.claimed("u", A).await;
    let mut steals = done(&other);
    steals.remote = Some(mapped("P-1", "L-1"));
    assert_eq!(stage.commit(steals).await, CommitResult::MappedElsewhere);

    let mut back = done(&claim);
    back.remote = Some(mapped("P-1", "L-1"));
    back.unmap = Some(Unmapped { planner_id: "P-2".into(), plan: Some("L-2".into()) });
    assert_eq!(stage.commit(back).await, CommitResult::Stored);
    assert_eq!(stage.text(&keys::sync_rmap("P-1")).await.as_deref(), Some("t"));
    assert!(!stage.exists(&keys::sync_rmap("P-2")).await && stage.exists(&keys::sync_gone("P-2")).await);
    let map = stage.text(&keys::task_mapping("t")).await.unwrap();
    assert!(map.contains("P-1"), "{map}");
}
