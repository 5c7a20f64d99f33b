//! Subscriptions hear what is published, and come back after the server was killed.

use std::time::Duration;

use annika::store::{Push, Subscription};
use annika_devkit::redis_server::RedisServer;

use super::start;

async fn publish(server: &RedisServer, channel: &str, payload: &[u8]) {
    let _: i64 = redis::cmd("PUBLISH")
        .arg(channel)
        .arg(payload)
        .query_async(&mut server.connect().await.unwrap())
        .await
        .unwrap();
}

async fn next(subscription: &mut Subscription) -> Push {
    tokio::time::timeout(Duration::from_secs(10), subscription.next()).await.expect("an event").unwrap()
}

#[tokio::test]
async fn messages_arrive_in_order_and_survive_a_restart() {
    let (server, store) = start().await;
    let mut subscription = store.subscribe(&["one", "two"]);
    assert_eq!(next(&mut subscription).await, Push::Reconnected);
    publish(&server, "one", b"a").await;
    publish(&server, "other", b"x").await;
    publish(&server, "two", b"\xff\x00").await;
    let message =
        |channel: &str, payload: &[u8]| Push::Message { channel: channel.into(), payload: payload.into() };
    assert_eq!(next(&mut subscription).await, message("one", b"a"));
    assert_eq!(next(&mut subscription).await, message("two", b"\xff\x00"));
    server.kill9();
    assert_eq!(next(&mut subscription).await, Push::Disconnected);
    server.restart().await.unwrap();
    assert_eq!(next(&mut subscription).await, Push::Reconnected);
    publish(&server, "two", b"b").await;
    assert_eq!(next(&mut subscription).await, message("two", b"b"));
}

#[tokio::test]
async fn a_killed_client_connection_is_noticed_without_any_command() {
    let (server, store) = start().await;
    let mut subscription = store.subscribe(&["one"]);
    assert_eq!(next(&mut subscription).await, Push::Reconnected);
    let _: i64 = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "pubsub"])
        .query_async(&mut server.connect().await.unwrap())
        .await
        .unwrap();
    assert_eq!(next(&mut subscription).await, Push::Disconnected);
    assert_eq!(next(&mut subscription).await, Push::Reconnected);
}

#[tokio::test]
async fn a_subscription_begun_before_the_server_is_there_comes_alive_with_it() {
    let (server, store) = start().await;
    server.kill9();
    let mut subscription = store.subscribe(&["one"]);
    server.restart().await.unwrap();
    assert_eq!(next(&mut subscription).await, Push::Reconnected);
}

#[tokio::test]
async fn a_flood_that_outruns_the_reader_is_told_and_not_kept() {
    let (server, store) = start().await;
    let mut subscription = store.subscribe(&["one"]);
    assert_eq!(next(&mut subscription).await, Push::Reconnected);
    let mut connection = server.connect().await.unwrap();
    const SENT: usize = 40_000;
    for _ in 0..40 {
        let mut pipe = redis::pipe();
        for _ in 0..SENT / 40 {
            pipe.publish("one", "x").ignore();
        }
        let () = pipe.query_async(&mut connection).await.unwrap();
    }
    publish(&server, "one", b"last").await;
    let (mut heard, mut told) = (0, false);
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(500), subscription.next()).await {
        match event {
            Push::Message { .. } => heard += 1,
            Push::Reconnected => told = true,
            Push::Disconnected => panic!("the connection holds"),
        }
    }
    assert!(heard < SENT && told, "heard {heard}, told {told}");
}
