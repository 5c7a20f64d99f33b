//! The Redis launcher against real servers.

use std::{
    io::BufRead,
    time::{Duration, Instant},
};

use annika_devkit::redis_server::{RedisOptions, RedisServer, RedisServerError};
use redis::AsyncCommands;

#[tokio::test]
async fn starts_answers_and_goes_away_with_its_folder() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let pid = server.pid().unwrap();
    let mut connection = server.connect().await.unwrap();
    let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(pong, "PONG");
    let folder: Vec<String> =
        redis::cmd("CONFIG").arg("GET").arg("dir").query_async(&mut connection).await.unwrap();
    assert!(std::path::Path::new(&folder[1]).is_dir());
    assert!(server.version().starts_with("redis ") || server.version().starts_with("valkey "));
    drop(server);
    assert!(!std::path::Path::new(&folder[1]).exists(), "the temporary folder is removed");
    let alive = std::process::Command::new("kill").args(["-0", &pid.to_string()]).output().unwrap();
    assert!(!alive.status.success(), "the process is gone");
}

#[tokio::test]
async fn kill_9_with_appendonly_keeps_what_was_acknowledged() {
    let server = RedisServer::start(RedisOptions { appendonly: true, ..Default::default() }).await.unwrap();
    let (port, pid) = (server.port(), server.pid());
    let () = server.connect().await.unwrap().set("kept", "yes").await.unwrap();
    server.kill9();
    assert_eq!(server.pid(), None);
    assert!(server.connect().await.is_err());
    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    let kept: String = server.connect().await.unwrap().get("kept").await.unwrap();
    assert_eq!(kept, "yes");
}

#[tokio::test]
async fn a_password_with_awkward_characters_is_asked_for() {
    let password = "p@ss/w:rd %41#?".to_owned();
    let options = RedisOptions { password: Some(password), ..Default::default() };
    let server = RedisServer::start(options).await.unwrap();
    let bare = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port())).unwrap();
    let refused = match bare.get_multiplexed_async_connection().await {
        Ok(mut connection) => connection.set::<_, _, ()>("a", "b").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    let () = server.connect().await.unwrap().set("a", "b").await.unwrap();
}

#[tokio::test]
async fn a_paused_server_is_silent_and_goes_on_afterwards() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let mut connection = server.connect().await.unwrap();
    server.pause().unwrap();
    let answer: redis::RedisResult<String> = redis::cmd("PING").query_async(&mut connection).await;
    assert!(answer.unwrap_err().is_timeout());
    server.resume().unwrap();
    let pong: String = server.connect().await.unwrap().ping().await.expect("a resumed server answers");
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn a_setting_the_server_refuses_is_reported_with_its_log() {
    let options =
        RedisOptions { args: vec!["--no-such-setting".to_owned(), "1".to_owned()], ..Default::default() };
    match RedisServer::start(options).await {
        Err(RedisServerError::Start { why }) => assert!(why.contains("exit status"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Plays two parts: the test, and the process (itself, started again) that holds a server and is killed.
#[tokio::test]
async fn a_holder_that_is_killed_leaves_no_server_behind() {
    const HOLDER: &str = "ANNIKA_TEST_HOLDS_A_SERVER";
    if std::env::var_os(HOLDER).is_some() {
        let server = RedisServer::start(RedisOptions::default()).await.unwrap();
        println!("pid {}", server.pid().unwrap());
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redis_server::a_holder_that_is_killed_leaves_no_server_behind", "--nocapture"])
        .env(HOLDER, "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(holder.stdout.take().unwrap()).lines();
    let pid = lines.find_map(|line| Some(line.unwrap().split_once("pid ")?.1.to_owned())).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    // A process that is only waiting to be reaped is gone as far as ports and files go.
    let state = || {
        let ps = std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid]).output().unwrap();
        String::from_utf8(ps.stdout).unwrap().trim().to_owned()
    };
    while !(state().is_empty() || state().starts_with('Z')) {
        assert!(Instant::now() < deadline, "the server {pid} is still there: {}", state());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
