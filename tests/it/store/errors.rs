//! Every way in which Redis says no has its own kind, and none of them looks like an absence.

use annika::{
    clock::SystemClock,
    store::{RedisSettings, Script, Store, StoreErrorKind},
};
use annika_devkit::redis_server::{RedisOptions, RedisServer};
use redis::Value;

use super::{eventually, start, start_with, store_for};

static WRITE: Script = Script::new("write", 1, "return redis.call('SET', KEYS[1], ARGV[1])");
static PUSH: Script = Script::new("push", 1, "return redis.call('RPUSH', KEYS[1], ARGV[1])");

async fn tell(server: &RedisServer, words: &[&str]) {
    let mut cmd = redis::cmd(words[0]);
    for word in &words[1..] {
        cmd.arg(*word);
    }
    let _: Value = cmd.query_async(&mut server.connect().await.unwrap()).await.unwrap();
}

async fn kind_of_write(store: &Store) -> StoreErrorKind {
    store.call(&WRITE, &["k"], &[b"v"]).await.unwrap_err().kind
}

#[tokio::test]
async fn out_of_memory_refuses_writes_and_lets_reads_and_deletes_through() {
    let (server, store) = start().await;
    store.call(&WRITE, &["k"], &[b"v"]).await.unwrap();
    tell(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(kind_of_write(&store).await, StoreErrorKind::Full);
    assert_eq!(store.command::<String>(redis::cmd("GET").arg("k")).await.unwrap(), "v");
    assert_eq!(store.command::<i64>(redis::cmd("DEL").arg("k")).await.unwrap(), 1);
}

#[tokio::test]
async fn a_replica_is_read_only() {
    let (server, store) = start().await;
    tell(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(kind_of_write(&store).await, StoreErrorKind::ReadOnly);
}

#[tokio::test]
async fn a_key_of_another_type_says_so() {
    let (_server, store) = start().await;
    store.call(&WRITE, &["k"], &[b"v"]).await.unwrap();
    let error = store.call(&PUSH, &["k"], &[b"v"]).await.unwrap_err();
    assert_eq!((error.kind, error.doing), (StoreErrorKind::WrongType, Some("push")));
    assert_eq!(error.kind.code(), "redis_wrong_type");
}

#[tokio::test]
async fn an_error_about_a_reply_does_not_repeat_the_reply() {
    let (_server, store) = start().await;
    let text = "somebody's own words";
    let _: String = store.command(redis::cmd("SET").arg("k").arg(text)).await.unwrap();
    let number = store.command::<i64>(redis::cmd("GET").arg("k")).await.unwrap_err();
    let pair = store.command::<(i64, i64)>(redis::cmd("GET").arg("k")).await.unwrap_err();
    for error in [number, pair] {
        assert_eq!(error.kind, StoreErrorKind::Other);
        assert!(!format!("{error} {error:?}").contains("words"), "{error:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_a_time_out_and_answers_again_later() {
    let (server, store) = start().await;
    store.ping().await.unwrap();
    server.pause().unwrap();
    assert_eq!(store.ping().await.unwrap_err().kind, StoreErrorKind::Timeout);
    server.resume().unwrap();
    eventually("an answer", || async { store.ping().await.is_ok() }).await;
}

#[tokio::test]
async fn a_server_that_dies_is_unavailable() {
    let (server, store) = start().await;
    store.ping().await.unwrap();
    server.kill9();
    assert_eq!(store.ping().await.unwrap_err().kind, StoreErrorKind::Unavailable);
    let results = store.run_many(&[WRITE.call().key("k").arg("v"), WRITE.call().key("l").arg("v")]).await;
    let kinds: Vec<_> = results.into_iter().map(|result| result.unwrap_err().kind).collect();
    assert_eq!(kinds, [StoreErrorKind::Unavailable, StoreErrorKind::Unavailable]);
}

#[tokio::test]
async fn a_wrong_password_is_no_permission_and_heals_without_a_restart() {
    let (server, _) = start_with(RedisOptions { password: Some("old".into()), ..Default::default() }).await;
    let settings = RedisSettings::from_parts("127.0.0.1", server.port(), Some("new%41"), 0).unwrap();
    let store = Store::new(settings, SystemClock::shared()).unwrap();
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NoPermission);
    assert!(!format!("{error} {error:?} {store:?}").contains("new%41"), "a password is never shown");
    tell(&server, &["CONFIG", "SET", "requirepass", "new%41"]).await;
    eventually("the new password to work", || async { store.ping().await.is_ok() }).await;
}

#[tokio::test]
async fn a_command_that_the_user_may_not_run_is_no_permission() {
    let (server, _) = start().await;
    tell(&server, &["ACL", "SETUSER", "default", "-set"]).await;
    assert_eq!(kind_of_write(&store_for(&server)).await, StoreErrorKind::NoPermission);
}

#[tokio::test]
async fn a_server_that_reads_its_data_is_loading_and_not_empty() {
    // A delay for each command that is read again makes the loading long enough to be seen.
    let args = vec!["--key-load-delay".to_owned(), "500".to_owned()];
    let options = RedisOptions { appendonly: true, args, ..Default::default() };
    let (server, store) = start_with(options).await;
    let commands: Vec<_> = (0..3_000).map(|n| redis::cmd("SET").arg(n).arg("v").to_owned()).collect();
    assert!(store.pipeline(&commands).await.iter().all(Result::is_ok));
    let mut seen = Vec::new();
    tokio::join!(async { server.restart().await.unwrap() }, async {
        // The restart ends when loading ends, so this does too.
        loop {
            match store.command::<Option<String>>(redis::cmd("GET").arg(2_999)).await {
                Ok(value) => {
                    assert_eq!(value.as_deref(), Some("v"), "an error is never an absence");
                    break;
                }
                Err(error) => seen.push(error.kind),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(seen.contains(&StoreErrorKind::Loading), "{seen:?}");
}
