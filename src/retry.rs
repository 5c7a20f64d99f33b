//! The one place that repeats requests: how often, how long between, and what `Retry-After` asked for.

use crate::clock::{SharedClock, SharedRng};
use backon::{ExponentialBuilder, Retryable};
use jiff::fmt::rfc2822::DateTimeParser;
use std::{future::Future, time::Duration};

/// No server is believed that asks for more.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// The wait that a `Retry-After` header asks for, at `now_ms`: whole or fractional seconds, or an HTTP date
/// (RFC 9110 §10.2.3; Graph was seen to send fractions). `None` when it is neither. At most an hour.
pub fn parse_retry_after(value: &str, now_ms: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        // Not a duration: negative, NaN, infinite.
        let wait = Duration::try_from_secs_f64(seconds).ok()?;
        return Some(wait.min(RETRY_AFTER_MAX));
    }
    let at = DateTimeParser::new().parse_timestamp(value).ok()?;
    let wait = at.as_millisecond().saturating_sub(now_ms);
    Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(RETRY_AFTER_MAX))
}

/// A failure that may be worth another try.
pub trait Retriable {
    /// Whether the same request may succeed now, and sending it twice does no harm.
    fn is_retriable(&self) -> bool;
    /// The wait that the other side asked for.
    fn retry_after(&self) -> Option<Duration>;
}

/// How requests are repeated: three tries, waits that double from 200 ms with jitter, never more than
/// [`RetryPolicy::PATIENCE`] for one wait. Who asks for more gets no further try: the caller's schedule comes back.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    clock: SharedClock,
    rng: SharedRng,
}

impl RetryPolicy {
    /// The longest single wait.
    pub const PATIENCE: Duration = Duration::from_secs(5);
    /// Tries after the first.
    pub const REPEATS: usize = 2;

    /// A policy that waits on `clock` and draws its jitter from `rng`.
    pub fn new(clock: SharedClock, rng: SharedRng) -> Self {
        Self { clock, rng }
    }

    /// Runs `attempt` until it succeeds, fails for good or the tries are used up.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn run<T, E, F, Fut>(&self, attempt: F) -> Result<T, E>
    where
        E: Retriable,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(200))
            .with_max_times(Self::REPEATS)
            .with_jitter()
            .with_jitter_seed(self.rng.next_u64());
        attempt
            .retry(backoff)
            .sleep(OnClock(self.clock.clone()))
            .when(E::is_retriable)
            .adjust(waiting_as_asked::<E>)
            .await
    }
}

/// The other side's wait where it is longer than ours; none where it is longer than we are patient.
fn waiting_as_asked<E: Retriable>(error: &E, planned: Option<Duration>) -> Option<Duration> {
    let wait = planned?.max(error.retry_after().unwrap_or_default());
    (wait <= RetryPolicy::PATIENCE).then_some(wait)
}

/// Sleeps on a clock of ours. A named type: a closure here would make callers' futures hard to prove `Send`.
struct OnClock(SharedClock);

impl backon::Sleeper for OnClock {
    type Sleep = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemRng};
    use std::{
        pin::Pin,
        sync::{Arc, Mutex},
    };

    #[derive(Debug, Default)]
    struct Waits(Mutex<Vec<Duration>>);

    impl Clock for Waits {
        fn now_ms(&self) -> i64 {
            0
        }
        fn monotonic_ms(&self) -> u64 {
            0
        }
        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            self.0.lock().unwrap().push(duration);
            Box::pin(std::future::ready(()))
        }
    }

    #[derive(Debug, PartialEq)]
    struct Failure(bool, Option<Duration>);

    impl Retriable for Failure {
        fn is_retriable(&self) -> bool {
            self.0
        }
        fn retry_after(&self) -> Option<Duration> {
            self.1
        }
    }

    async fn run(failures: Vec<Failure>) -> (Result<usize, Failure>, Vec<Duration>) {
        let clock = Arc::new(Waits::default());
        let failures = Mutex::new(failures.into_iter());
        let tries = Mutex::new(0);
        let result = RetryPolicy::new(clock.clone(), SystemRng::shared())
            .run(async || {
                *tries.lock().unwrap() += 1;
                match failures.lock().unwrap().next() {
                    Some(failure) => Err(failure),
                    None => Ok(*tries.lock().unwrap()),
                }
            })
            .await;
        let waits = clock.0.lock().unwrap().clone();
        (result, waits)
    }

    #[tokio::test]
    async fn what_the_other_side_asks_for_is_waited_out_exactly() {
        let asked = Duration::from_millis(2128);
        let (result, waits) = run(vec![Failure(true, Some(asked))]).await;
        assert_eq!((result, waits), (Ok(2), vec![asked]));
    }

    #[tokio::test]
    async fn tries_end_and_impatience_gives_up_at_once() {
        let (result, waits) = run((0..9).map(|_| Failure(true, None)).collect()).await;
        assert_eq!((result, waits.len()), (Err(Failure(true, None)), RetryPolicy::REPEATS));
        assert!(
            waits[0] >= Duration::from_millis(200) && waits[1] >= Duration::from_millis(400),
            "{waits:?}"
        );

        let long = Failure(true, Some(Duration::from_secs(60)));
        assert_eq!(run(vec![long]).await, (Err(Failure(true, Some(Duration::from_secs(60)))), vec![]));
        assert_eq!(run(vec![Failure(false, None)]).await, (Err(Failure(false, None)), vec![]));
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let date = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
        for (value, expected) in [
            ("120", Some(120_000)),
            (" 2.128 ", Some(2_128)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7_000)),
            ("Sun, 06 Nov 1994 08:49:20 GMT", Some(0)),
            ("86400", Some(3_600_000)),
            ("-1", None),
            ("soon", None),
            ("NaN", None),
            ("", None),
        ] {
            let wait = parse_retry_after(value, date - 7_000);
            assert_eq!(wait, expected.map(Duration::from_millis), "{value}");
        }
    }
}
