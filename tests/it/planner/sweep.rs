//! The sweep over real keys: changed, missing, foreign and wrong ones, and a key space that is too large for one go.

use annika::keys;
use annika_sync::{
    state::{TaskState, digest},
    world::{CommitResult, Local, World},
};
use redis::{AsyncCommands, Pipeline};

use super::{Stage, document, done};

const A: &str = r#"{"title":"A"}"#;

/// One part of the discovery.
struct Part {
    ids: Vec<String>,
    slices: usize,
    rest: bool,
}

impl Stage {
    /// A task whose document was worked off.
    async fn known(&mut self, id: &str) {
        let claim = self.claimed(id, A).await;
        let mut commit = done(&claim);
        commit.document = Some(document(A));
        commit.state = Some(TaskState { seen: Some(digest(A.as_bytes())), ..TaskState::default() });
        assert_eq!(self.commit(commit).await, CommitResult::Stored);
    }

    async fn discovered(&self) -> Part {
        let (mut ids, mut slices, mut cursor) = (Vec::new(), 0, None);
        loop {
            let found = self.world.discover(cursor).await.unwrap();
            ids.extend(found.ids);
            slices += 1;
            cursor = found.next;
            if cursor.is_none() {
                ids.sort();
                ids.dedup();
                return Part { ids, slices, rest: found.rest };
            }
            assert!(slices < 1_000, "a sweep ends");
        }
    }
}

#[tokio::test]
async fn a_page_tells_changed_missing_and_unchanged_apart() {
    let mut stage = Stage::start().await;
    for id in ["same", "changed", "gone", "list"] {
        stage.known(id).await;
    }
    let () = stage.redis.set(keys::task("changed"), r#"{"title":"B"}"#).await.unwrap();
    let () = stage.redis.del(keys::task("gone")).await.unwrap();
    let () = stage.redis.del(keys::task("list")).await.unwrap();
    let () = stage.redis.rpush(keys::task("list"), "x").await.unwrap();
    let mut page = stage.world.sweep_page(None).await.unwrap();
    page.changed.sort();
    assert_eq!((page.read, page.next), (4, None));
    assert_eq!(page.changed, ["changed", "list"], "another type is no absence");
    assert_eq!(page.missing, ["gone"]);
}

#[tokio::test]
async fn a_document_of_another_type_is_unreadable_not_missing() {
    let mut stage = Stage::start().await;
    let () = stage.redis.hset(keys::task("h"), "f", "v").await.unwrap();
    let snapshots = stage.world.load(&["h".to_owned(), "none".to_owned()]).await.unwrap();
    assert!(matches!(&snapshots[0].local, Local::Unreadable { code: "wrong_type", .. }));
    assert_eq!(snapshots[1].local, Local::Missing);
}

#[tokio::test]
async fn pages_together_see_every_known_task_once_or_more() {
    let mut stage = Stage::start().await;
    let mut pipe = Pipeline::new();
    for n in 0..2_600 {
        pipe.hset(keys::sync_index(), format!("t-{n}"), "old").ignore();
        pipe.set(keys::task(&format!("t-{n}")), A).ignore();
    }
    let () = pipe.query_async(&mut stage.redis).await.unwrap();
    let (mut changed, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = stage.world.sweep_page(cursor).await.unwrap();
        changed.extend(page.changed);
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    changed.sort();
    changed.dedup();
    assert_eq!(changed.len(), 2_600);
    assert!(pages >= 4, "read page by page: {pages}");
}

#[tokio::test]
async fn only_unknown_task_documents_are_discovered() {
    let mut stage = Stage::start().await;
    stage.known("known").await;
    for key in [
        "annika:tasks:new",
        "annika:tasks:a:b",
        "annika:tasks:",
        "annika:tasks",
        "annika:tasks:updates",
        "annika:tasksx:new",
        "session:new",
        "cache:annika:tasks:new",
    ] {
        let () = stage.redis.set(key, A).await.unwrap();
    }
    let () = stage.redis.rpush(keys::task("a-list"), "x").await.unwrap();
    assert_eq!(stage.discovered().await.ids, ["a-list", "new"]);
}

#[tokio::test]
async fn a_small_key_space_is_seen_whole_in_one_sweep() {
    let mut stage = Stage::start().await;
    let mut pipe = Pipeline::new();
    for n in 0..9_000 {
        pipe.set(format!("session:{n}"), "x").ignore();
    }
    pipe.set(keys::task("needle"), A).ignore();
    let () = pipe.query_async(&mut stage.redis).await.unwrap();
    let part = stage.discovered().await;
    assert_eq!((part.ids.as_slice(), part.rest), (["needle".to_owned()].as_slice(), false));
}

#[tokio::test]
async fn a_large_key_space_is_walked_a_bounded_part_at_a_time_and_whole_in_the_end() {
    let mut stage = Stage::start().await;
    for chunk in 0..12 {
        let mut pipe = Pipeline::new();
        for n in 0..10_000 {
            pipe.set(format!("session:{chunk}:{n}"), "x").ignore();
        }
        let () = pipe.query_async(&mut stage.redis).await.unwrap();
    }
    let needles: Vec<String> = (0..30).map(|n| format!("needle-{n:02}")).collect();
    for id in &needles {
        let () = stage.redis.set(keys::task(id), A).await.unwrap();
    }
    let (mut found, mut parts) = (Vec::new(), 0);
    loop {
        let Part { ids, slices, rest } = stage.discovered().await;
        assert!(slices <= 5, "a part is bounded: {slices} slices");
        found.extend(ids);
        parts += 1;
        assert!(parts <= 30, "{} of {} after {parts} parts", found.len(), needles.len());
        if !rest {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found, needles, "a pass sees every key");
    assert!(parts >= 20, "120,000 keys in {parts} parts");
}
