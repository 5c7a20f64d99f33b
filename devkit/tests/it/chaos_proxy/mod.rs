//! The chaos proxy in front of a server that sends back what it gets.

use std::time::{Duration, Instant};

use annika_devkit::chaos_proxy::{ChaosProxy, Flow, Weather, storm};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SOON: Duration = Duration::from_secs(5);
/// How long nothing must come to be called nothing.
const SILENCE: Duration = Duration::from_millis(150);

async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    port
}

async fn start() -> (ChaosProxy, TcpStream) {
    let proxy = ChaosProxy::start(echo().await).await.unwrap();
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    (proxy, client)
}

async fn say(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).await.unwrap();
}

/// So many bytes, or what came before the end.
async fn hear(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut heard = vec![0; bytes];
    let mut read = 0;
    while read < bytes {
        match tokio::time::timeout(SOON, client.read(&mut heard[read..])).await.expect("an answer") {
            Ok(0) | Err(_) => break,
            Ok(more) => read += more,
        }
    }
    heard.truncate(read);
    heard
}

async fn is_silent(client: &mut TcpStream) -> bool {
    tokio::time::timeout(SILENCE, client.read_u8()).await.is_err()
}

#[tokio::test]
async fn fair_weather_changes_nothing() {
    let (proxy, mut client) = start().await;
    let text = vec![7; 300_000];
    let (mut from, mut to) = client.split();
    let mut heard = vec![0; text.len()];
    let (sent, read) = tokio::join!(to.write_all(&text), from.read_exact(&mut heard));
    assert!(sent.is_ok() && read.is_ok() && heard == text);
    let passed = proxy.passed();
    assert_eq!((passed.connections, passed.to_server, passed.to_client), (1, 300_000, 300_000));
}

#[tokio::test]
async fn a_delay_holds_back_each_way() {
    let (proxy, mut client) = start().await;
    proxy.set(Weather::both(Flow::Delay(Duration::from_millis(80))));
    let start = Instant::now();
    say(&mut client, b"slow").await;
    assert_eq!(hear(&mut client, 4).await, b"slow");
    assert!(start.elapsed() >= Duration::from_millis(160), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_trickle_takes_its_time_and_loses_nothing() {
    let (proxy, mut client) = start().await;
    proxy.set(Weather::answers(Flow::Trickle { bytes: 2, every: Duration::from_millis(10) }));
    let start = Instant::now();
    say(&mut client, b"0123456789").await;
    assert_eq!(hear(&mut client, 10).await, b"0123456789");
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_stands_still_arrives_when_the_weather_changes() {
    let (proxy, mut client) = start().await;
    proxy.set(Weather::requests(Flow::Hold));
    say(&mut client, b"held").await;
    assert!(is_silent(&mut client).await);
    assert_eq!(proxy.passed().to_server, 0);
    proxy.calm();
    assert_eq!(hear(&mut client, 4).await, b"held");
}

#[tokio::test]
async fn what_is_lost_never_arrives_and_nobody_is_told() {
    let (proxy, mut client) = start().await;
    proxy.set(Weather::answers(Flow::Lose));
    say(&mut client, b"gone").await;
    assert!(is_silent(&mut client).await);
    let passed = proxy.passed();
    assert_eq!((passed.to_server, passed.to_client, passed.lost), (4, 0, 4), "one direction only");
    proxy.calm();
    say(&mut client, b"next").await;
    assert!(is_silent(&mut client).await, "the connection stays half-open");
    let mut other = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    say(&mut other, b"next").await;
    assert_eq!(hear(&mut other, 4).await, b"next");
}

#[tokio::test]
async fn a_cut_ends_open_connections_and_new_ones_work() {
    let (proxy, mut client) = start().await;
    say(&mut client, b"a").await;
    hear(&mut client, 1).await;
    proxy.cut();
    assert_eq!(hear(&mut client, 1).await, b"");
    let mut next = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    say(&mut next, b"b").await;
    assert_eq!(hear(&mut next, 1).await, b"b");
    proxy.set(Weather { refuse: true, ..Weather::default() });
    let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(hear(&mut refused, 1).await, b"");
}

#[tokio::test]
async fn after_a_failover_the_same_address_leads_elsewhere() {
    let (proxy, mut client) = start().await;
    // An answer proves that the proxy carries the connection; one that it has only accepted cannot be ended yet.
    say(&mut client, b"old").await;
    assert_eq!(hear(&mut client, 3).await, b"old");
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.lead_to(other.local_addr().unwrap().port());
    assert_eq!(hear(&mut client, 1).await, b"", "the old connection is gone");
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut server, _) = tokio::time::timeout(SOON, other.accept()).await.unwrap().unwrap();
    server.write_all(b"new").await.unwrap();
    assert_eq!(hear(&mut client, 3).await, b"new");
}

#[tokio::test]
async fn a_storm_follows_from_its_seed_and_ends_fair() {
    assert_eq!(storm(7, 50), storm(7, 50));
    assert_ne!(storm(7, 50), storm(8, 50));
    let flows: Vec<Flow> = storm(1, 200).iter().map(|gust| gust.weather.to_client).collect();
    for wanted in [Flow::Open, Flow::Hold, Flow::Lose] {
        assert!(flows.contains(&wanted), "{wanted:?}");
    }
    let (proxy, _client) = start().await;
    let mut short = storm(3, 4);
    short.iter_mut().for_each(|gust| gust.lasts = Duration::from_millis(5));
    proxy.play(&short).await;
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    say(&mut client, b"fair").await;
    assert_eq!(hear(&mut client, 4).await, b"fair");
}
