//! The store against a real server: scripts, pipelines, errors by kind, restarts and subscriptions.

mod errors;
mod subscriptions;

use std::time::{Duration, Instant};

use annika::{
    clock::SystemClock,
    store::{RedisSettings, Script, Store, StoreErrorKind},
};
use annika_devkit::redis_server::{RedisOptions, RedisServer};
use redis::Value;

static ADD: Script = Script::new("add", 1, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
static FAIL: Script = Script::new("fail", 1, "return redis.error_reply('ERR on purpose')");

pub async fn start() -> (RedisServer, Store) {
    start_with(RedisOptions::default()).await
}

pub async fn start_with(options: RedisOptions) -> (RedisServer, Store) {
    let server = RedisServer::start(options).await.unwrap();
    let store = store_for(&server);
    (server, store)
}

pub fn store_for(server: &RedisServer) -> Store {
    Store::new(RedisSettings::from_url(&server.url()).unwrap(), SystemClock::shared()).unwrap()
}

/// Calls `probe` until it answers true; panics after ten seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !probe().await {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_script_is_loaded_once_and_again_after_it_was_forgotten() {
    let (server, store) = start().await;
    assert_eq!(store.call(&ADD, &["n"], &[b"2"]).await.unwrap(), Value::Int(2));
    assert_eq!(store.round_trips(), 2, "EVALSHA, then load and repeat");
    assert_eq!(store.call(&ADD, &["n"], &[b"2"]).await.unwrap(), Value::Int(4));
    assert_eq!(store.round_trips(), 3);
    let _: Value =
        redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut server.connect().await.unwrap()).await.unwrap();
    assert_eq!(store.call(&ADD, &["n"], &[b"2"]).await.unwrap(), Value::Int(6));
    assert_eq!(store.round_trips(), 5);
}

#[tokio::test]
async fn many_calls_are_one_round_trip_with_a_result_each() {
    let (_server, store) = start().await;
    store.call(&ADD, &["n"], &[b"1"]).await.unwrap();
    let before = store.round_trips();
    let calls: Vec<_> = (0..50).map(|_| ADD.call().key("n").num(1)).collect();
    let results = store.run_many(&calls).await;
    assert_eq!(store.round_trips() - before, 1);
    let numbers: Vec<Value> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, (2..52).map(Value::Int).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_calls_of_unknown_scripts_are_repeated_and_errors_stay_with_their_call() {
    let (_server, store) = start().await;
    store.call(&ADD, &["n"], &[b"1"]).await.unwrap();
    let before = store.round_trips();
    let results =
        store.run_many(&[ADD.call().key("n").num(1), FAIL.call(), ADD.call().key("n").num(1)]).await;
    assert_eq!(store.round_trips() - before, 2);
    assert_eq!(results[0], Ok(Value::Int(2)));
    let error = results[1].clone().unwrap_err();
    assert_eq!((error.kind, error.doing), (StoreErrorKind::Other, Some("fail")));
    assert!(error.to_string().contains("on purpose"), "{error}");
    assert_eq!(results[2], Ok(Value::Int(3)), "a known script ran once");
}

#[tokio::test]
async fn a_pipeline_keeps_each_commands_own_result() {
    let (_server, store) = start().await;
    let mut set = redis::cmd("SET");
    set.arg("s").arg("text");
    let mut wrong = redis::cmd("LLEN");
    wrong.arg("s");
    let mut get = redis::cmd("GET");
    get.arg("s");
    let results = store.pipeline(&[set, wrong, get]).await;
    assert_eq!(store.round_trips(), 1);
    assert_eq!(results[0], Ok(Value::Okay));
    assert_eq!(results[1].clone().unwrap_err().kind, StoreErrorKind::WrongType);
    assert_eq!(results[2], Ok(Value::BulkString(b"text".to_vec())));
    assert!(store.pipeline(&[]).await.is_empty());
    assert!(store.run_many(&[]).await.is_empty());
}

#[tokio::test]
async fn several_clients_share_a_counter_without_losing_one() {
    let (server, _store) = start().await;
    let clients = (0..4).map(|_| {
        let store = store_for(&server);
        tokio::spawn(async move {
            for _ in 0..50 {
                store.call(&ADD, &["n"], &[b"1"]).await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(store_for(&server).call(&ADD, &["n"], &[b"0"]).await.unwrap(), Value::Int(200));
}

#[tokio::test]
async fn a_store_starts_without_redis_and_recovers_when_it_comes() {
    let (server, _) = start_with(RedisOptions { appendonly: true, ..Default::default() }).await;
    server.kill9();
    let store = store_for(&server);
    assert_eq!(store.ping().await.unwrap_err().kind, StoreErrorKind::Unavailable);
    server.restart().await.unwrap();
    eventually("recovery", || async { store.ping().await.is_ok() }).await;
    assert_eq!(store.call(&ADD, &["n"], &[b"1"]).await.unwrap(), Value::Int(1));
    server.restart().await.unwrap();
    eventually("a second recovery", || async { store.ping().await.is_ok() }).await;
    assert_eq!(store.call(&ADD, &["n"], &[b"1"]).await.unwrap(), Value::Int(2), "the script is loaded again");
}

#[tokio::test]
async fn a_connection_of_its_own_waits_for_its_own_writes() {
    let (server, store) = start().await;
    let own = store.with_own_connection().unwrap();
    let mut wait = redis::cmd("WAIT");
    wait.arg(0).arg(10);
    assert_eq!(own.command::<i64>(&wait).await.unwrap(), 0);
    store.ping().await.unwrap();
    let clients: String =
        redis::cmd("CLIENT").arg("LIST").query_async(&mut server.connect().await.unwrap()).await.unwrap();
    assert_eq!(clients.lines().count(), 3, "two stores and the observer: {clients}");
}
