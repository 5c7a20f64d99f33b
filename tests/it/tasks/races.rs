//! Several writers on one document: nobody's change is lost, and the sync's stamp is nobody's conflict.

use annika::{
    keys,
    tasks::{Precondition, TaskError},
};
use annika_sync::lens::Document;
use redis::AsyncCommands;

use super::stage;

#[tokio::test]
async fn patches_of_several_clients_all_end_up_in_the_document() {
    let stage = stage().await;
    stage.tasks.create(br#"{"id":"t","title":"A"}"#, None).await.unwrap();
    let writers = (0..4).map(|writer| {
        let tasks = stage.other_client();
        tokio::spawn(async move {
            for round in 0..10 {
                let patch = format!(r#"{{"w{writer}_{round}":{round}}}"#);
                // A caller that is told of contention tries again, as the answer says.
                while let Err(error) = tasks.patch("t", patch.as_bytes(), &Precondition::None).await {
                    assert_eq!(error, TaskError::Contended);
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let document = stage.tasks.get("t").await.unwrap();
    assert_eq!(document.members().count(), 2 + 40);
}

#[tokio::test]
async fn of_two_creates_one_wins_and_of_two_conditional_patches_too() {
    let stage = stage().await;
    let creates = (0..8).map(|_| {
        let tasks = stage.other_client();
        tokio::spawn(async move { tasks.create(br#"{"id":"t","title":"A"}"#, None).await.is_ok() })
    });
    let mut won = 0;
    for create in creates.collect::<Vec<_>>() {
        won += usize::from(create.await.unwrap());
    }
    assert_eq!(won, 1);
    let etag = stage.tasks.get("t").await.unwrap().etag();
    let patches = (0..8).map(|number| {
        let (tasks, condition) = (stage.other_client(), Precondition::Matches(vec![etag.clone()]));
        tokio::spawn(async move {
            let patch = format!(r#"{{"title":"B{number}"}}"#);
            tasks.patch("t", patch.as_bytes(), &condition).await
        })
    });
    let mut won = 0;
    for patch in patches.collect::<Vec<_>>() {
        match patch.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error, TaskError::PreconditionFailed),
        }
    }
    assert_eq!(won, 1);
}

/// The engine stamps the document all the time, and agents with If-Match never see a 412 for it.
#[tokio::test]
async fn a_stamp_that_moves_is_merged_again_and_never_a_412() {
    let stage = stage().await;
    stage.tasks.create(br#"{"id":"t","title":"A","n":0}"#, None).await.unwrap();
    let mut redis = stage.server.connect().await.unwrap();
    let stamping = tokio::spawn(async move {
        // Stamps by compare-and-set on the text, as the engine does.
        let script = redis::Script::new(
            "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0",
        );
        let mut stamps = 0;
        while stamps < 100 {
            let text: Vec<u8> = redis.get(keys::task("t")).await.unwrap();
            let stamp = annika_sync::lens::SyncStamp {
                rev: stamps.to_string(),
                planner_id: "P".into(),
                etag: "W".into(),
            };
            let stamped = Document::parse(&text).unwrap().with_stamp(&stamp).bytes();
            let done: i64 =
                script.key(keys::task("t")).arg(text).arg(stamped).invoke_async(&mut redis).await.unwrap();
            stamps += done;
        }
    });
    for number in 1..=40 {
        let etag = stage.tasks.get("t").await.unwrap().etag();
        let condition = Precondition::Matches(vec![etag]);
        let patch = format!(r#"{{"n":{number}}}"#);
        loop {
            match stage.tasks.patch("t", patch.as_bytes(), &condition).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error, TaskError::Contended, "only ever a request to try again"),
            }
        }
    }
    stamping.await.unwrap();
    let document = stage.tasks.get("t").await.unwrap();
    assert_eq!(document.get("n").unwrap().get(), "40");
    assert!(document.sync_stamp().is_some(), "a patch keeps the stamp");
}

#[tokio::test]
async fn a_put_that_names_the_etag_keeps_the_stamp_and_one_that_does_not_stores_what_was_sent() {
    let mut stage = stage().await;
    let stored = r#"{"id":"t","title":"A","_sync":{"rev":"r1","planner_id":"P","etag":"e"}}"#;
    let () = stage.redis.set(keys::task("t"), stored).await.unwrap();
    let etag = stage.tasks.get("t").await.unwrap().etag();
    let sent = br#"{"id":"t","title":"B"}"#;
    let with = stage.tasks.replace("t", sent, &Precondition::Matches(vec![etag])).await.unwrap();
    assert_eq!(with.document.sync_stamp().unwrap().rev, "r1");
    let without = stage.tasks.replace("t", sent, &Precondition::None).await.unwrap();
    assert_eq!(without.document.bytes(), sent);
    assert_eq!(stage.text("t").await.unwrap().as_bytes(), sent);
}

#[tokio::test]
async fn a_stamp_inside_a_patch_is_ignored() {
    let mut stage = stage().await;
    let stored = r#"{"id":"t","title":"A","_sync":{"rev":"r1","planner_id":"P","etag":"e"}}"#;
    let () = stage.redis.set(keys::task("t"), stored).await.unwrap();
    let patch = br#"{"title":"B","_sync":{"rev":"forged"}}"#;
    let document = stage.tasks.patch("t", patch, &Precondition::None).await.unwrap();
    assert_eq!(document.sync_stamp().unwrap().rev, "r1");
}
