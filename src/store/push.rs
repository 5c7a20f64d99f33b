//! Subscriptions to channels, on a connection of their own, that outlive a restart of the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::sync::mpsc;

use crate::clock::SharedClock;

/// How many messages may wait for a slow reader before some are dropped (and the reader told).
const WAITING: usize = 8_192;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A silent connection is asked this often whether it lives.
const PING_EVERY: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// A message on one of the channels.
    Message {
        /// The channel.
        channel: String,
        /// The message, as it was published.
        payload: Vec<u8>,
    },
    /// Subscribed now, for the first time or again: whatever was published before may have been missed.
    Reconnected,
    /// The connection broke; nothing is heard until [`Push::Reconnected`].
    Disconnected,
}

/// A subscription. It reconnects by itself until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    events: mpsc::Receiver<Push>,
    task: tokio::task::JoinHandle<()>,
}

impl Subscription {
    pub(super) fn start(client: redis::Client, clock: SharedClock, channels: Vec<String>) -> Self {
        let (sender, events) = mpsc::channel(WAITING);
        let task = tokio::spawn(follow(client, clock, channels, sender));
        Self { events, task }
    }

    /// The next event. `None` only when the runtime is shutting down. Cancel safe.
    pub async fn next(&mut self) -> Option<Push> {
        self.events.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    client: redis::Client,
    clock: SharedClock,
    channels: Vec<String>,
    events: mpsc::Sender<Push>,
) {
    let mut delay = FIRST_DELAY;
    while !events.is_closed() {
        let (pushes, incoming) = Pushes::new();
        match subscribe(&client, pushes.clone(), &channels).await {
            Ok(connection) => {
                delay = FIRST_DELAY;
                if events.send(Push::Reconnected).await.is_err() {
                    return;
                }
                listen(connection, &clock, pushes, incoming, &events).await;
                if events.send(Push::Disconnected).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, retry_ms = delay.as_millis() as u64, "subscribing to Redis failed");
                delay = (delay * 2).min(LONGEST_DELAY);
            }
        }
        clock.sleep(delay).await;
    }
}

async fn subscribe(
    client: &redis::Client,
    pushes: Pushes,
    channels: &[String],
) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT))
        .set_push_sender(move |info: PushInfo| {
            pushes.offer(info);
            Ok::<(), redis::aio::SendError>(())
        });
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    connection.subscribe(channels).await?;
    Ok(connection)
}

/// Hands on what comes in, until the connection breaks or nobody listens.
async fn listen(
    mut connection: MultiplexedConnection,
    clock: &SharedClock,
    pushes: Pushes,
    mut incoming: mpsc::Receiver<PushInfo>,
    events: &mpsc::Sender<Push>,
) {
    let mut ping = clock.sleep(PING_EVERY);
    // What could not be queued, the end of the connection among it, is only known by the flags.
    while !(pushes.broken.load(Ordering::Acquire) && incoming.is_empty()) {
        let info = tokio::select! {
            info = incoming.recv() => info,
            () = &mut ping => {
                let pong: redis::RedisResult<Value> = redis::cmd("PING").query_async(&mut connection).await;
                if pong.is_err() {
                    return;
                }
                ping = clock.sleep(PING_EVERY);
                continue;
            }
        };
        let Some(info) = info else { return };
        if info.kind == PushKind::Disconnection {
            return;
        }
        if pushes.dropped.swap(false, Ordering::AcqRel) && events.send(Push::Reconnected).await.is_err() {
            return;
        }
        if let Some(message) = message(info)
            && events.send(message).await.is_err()
        {
            return;
        }
    }
}

fn message(info: PushInfo) -> Option<Push> {
    if info.kind != PushKind::Message {
        return None;
    }
    let mut data = info.data.into_iter();
    match (data.next()?, data.next()?) {
        (Value::BulkString(channel), Value::BulkString(payload)) => {
            Some(Push::Message { channel: String::from_utf8_lossy(&channel).into_owned(), payload })
        }
        _ => None,
    }
}

/// The bounded way from the connection's reader, which must never wait, to the listener.
#[derive(Clone)]
struct Pushes {
    sender: mpsc::Sender<PushInfo>,
    dropped: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

impl Pushes {
    fn new() -> (Self, mpsc::Receiver<PushInfo>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender, dropped: Arc::default(), broken: Arc::default() }, receiver)
    }

    fn offer(&self, info: PushInfo) {
        if info.kind == PushKind::Disconnection {
            self.broken.store(true, Ordering::Release);
        }
        if self.sender.try_send(info).is_err() {
            self.dropped.store(true, Ordering::Release);
        }
    }
}
