//! Somebody's own Redis for `annika-dev run`: used only if it holds nothing of Annika's, or what an earlier run made.

use redis::aio::MultiplexedConnection;

/// Says that the `annika:*` keys of this Redis belong to `annika-dev run`. The product never touches it.
const MARKER: &str = "annika:private:development";
/// Keys looked at, and keys removed, in one round trip.
const SLICE: usize = 500;

/// Why a Redis is not used.
#[derive(Debug, thiserror::Error)]
pub enum SharedRedisError {
    /// It holds keys that were not made by `annika-dev run`.
    #[error(
        "the Redis of REDIS_URL is left alone: it holds {key}, and no {MARKER} that says that it is a development one. \
         Leave REDIS=use out, or name an empty database in REDIS_URL"
    )]
    Foreign {
        /// The first such key that was met.
        key: String,
    },
    /// It did not answer.
    #[error("the Redis of REDIS_URL did not answer: {0}")]
    Redis(#[from] redis::RedisError),
}

/// Takes the Redis at `url` for development: checks that it may be used, removes what an earlier run left (the
/// simulated Planner starts afresh too), and marks it. Says how many keys were removed.
///
/// # Errors
/// [`SharedRedisError`]; then nothing in it was changed.
pub async fn take(url: &str) -> Result<usize, SharedRedisError> {
    let mut redis = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let ours: bool = redis::cmd("EXISTS").arg(MARKER).query_async(&mut redis).await?;
    let mut removed = 0;
    if ours {
        removed = clear(&mut redis).await?;
    } else if let Some(key) = first_key(&mut redis).await? {
        return Err(SharedRedisError::Foreign { key });
    }
    let _: () = redis::cmd("SET").arg(MARKER).arg("annika-dev run").query_async(&mut redis).await?;
    Ok(removed)
}

async fn scan(redis: &mut MultiplexedConnection, cursor: u64) -> redis::RedisResult<(u64, Vec<Vec<u8>>)> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg("annika:*").arg("COUNT").arg(SLICE);
    scan.query_async(redis).await
}

async fn first_key(redis: &mut MultiplexedConnection) -> redis::RedisResult<Option<String>> {
    let mut cursor = 0;
    loop {
        let (next, keys) = scan(redis, cursor).await?;
        if let Some(key) = keys.first() {
            return Ok(Some(String::from_utf8_lossy(key).into_owned()));
        }
        if next == 0 {
            return Ok(None);
        }
        cursor = next;
    }
}

/// Removes every `annika:*` key but the marker, which goes on saying whose they are if this is interrupted.
async fn clear(redis: &mut MultiplexedConnection) -> redis::RedisResult<usize> {
    let (mut cursor, mut removed) = (0, 0);
    loop {
        let (next, mut keys) = scan(redis, cursor).await?;
        keys.retain(|key| key != MARKER.as_bytes());
        if !keys.is_empty() {
            let count: usize = redis::cmd("UNLINK").arg(&keys).query_async(redis).await?;
            removed += count;
        }
        if next == 0 {
            return Ok(removed);
        }
        cursor = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis_server::{RedisOptions, RedisServer};

    async fn run(redis: &mut MultiplexedConnection, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query_async(redis).await.unwrap()
    }

    #[tokio::test]
    async fn foreign_keys_are_left_alone_and_our_own_are_cleared() {
        let server = RedisServer::start(RedisOptions::default()).await.unwrap();
        let mut redis = server.connect().await.unwrap();
        let size = async |redis: &mut MultiplexedConnection| run(redis, &["DBSIZE"]).await;

        // Other applications' keys do not matter; ours without the marker do.
        run(&mut redis, &["SET", "session:abc", "1"]).await;
        run(&mut redis, &["SET", "annika:tasks:real", "{}"]).await;
        let refused = take(&server.url()).await.unwrap_err().to_string();
        assert!(refused.contains("annika:tasks:real") && refused.contains(MARKER), "{refused}");
        assert_eq!(size(&mut redis).await, redis::Value::Int(2), "nothing was changed");

        run(&mut redis, &["DEL", "annika:tasks:real"]).await;
        assert_eq!(take(&server.url()).await.unwrap(), 0);
        for number in 0..2_000 {
            run(&mut redis, &["SET", &format!("annika:tasks:{number}"), "{}"]).await;
        }
        assert_eq!(take(&server.url()).await.unwrap(), 2_000);
        assert_eq!(
            size(&mut redis).await,
            redis::Value::Int(2),
            "the marker and the other application's key"
        );
    }
}
