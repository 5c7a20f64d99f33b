//! Scripted statuses and throttles: what they answer, how they ask to wait, and who comes too early.

use super::{
    answer::{Answer, GraphError, Wait},
    fault::{BodyForm, Effect, RetryAfter, When, usual_code},
    simulator::{Inner, Received},
    switches::{EarlyCall, ThrottleCode, ThrottleWait},
};

impl Inner {
    /// The answer of a fault that gives a status.
    pub fn scripted(&self, effect: &Effect, received: &Received, item: bool) -> Option<Answer> {
        let (status, code, message, retry_after, form) = match effect {
            Effect::Status { status, code, message, retry_after, body, .. } => {
                (*status, code.as_deref(), message.as_deref(), *retry_after, *body)
            }
            Effect::Throttle { seconds } => return Some(self.start_throttle(seconds * 1000, received, item)),
            _ => return None,
        };
        let usual = usual_code(status);
        let error = GraphError::new(status, code.unwrap_or(usual.0), message.unwrap_or(usual.1));
        let mut answer = match form {
            BodyForm::Json => self.refuse(&error, received),
            BodyForm::Empty => Answer { status, ..Answer::default() },
            BodyForm::Html => Answer {
                status,
                raw: Some((
                    "text/html".into(),
                    format!(
                        "<html><head><title>{status}</title></head><body><h1>{}</h1></body></html>",
                        error.message
                    ),
                )),
                ..Answer::default()
            },
        };
        answer.scripted = true;
        if let Some(retry_after) = retry_after {
            answer.headers.push(("Retry-After".into(), self.retry_after(retry_after)));
            let item = item.then(|| (received.method.clone(), received.path.clone()));
            answer.waits.push(Wait { item, ms: retry_after.ms() });
        }
        Some(answer)
    }

    /// Starts a throttle and answers its first 429.
    fn start_throttle(&self, ms: u64, received: &Received, item: bool) -> Answer {
        self.state().throttle = Some((self.clock.elapsed_ms() + ms, ms));
        self.too_many(ms, received, item)
    }

    /// 429 with `ms` to go, as the switches have it.
    fn too_many(&self, ms: u64, received: &Received, item: bool) -> Answer {
        let switches = self.state().rules.switches;
        let code = match switches.throttle_code {
            ThrottleCode::TooManyRequests => "TooManyRequests",
            ThrottleCode::LimitReached => "activityLimitReached",
        };
        let seconds = ms.div_ceil(1000);
        let retry_after = match switches.throttle_wait {
            ThrottleWait::Seconds => Some(RetryAfter::Seconds(seconds)),
            ThrottleWait::Fraction => Some(RetryAfter::Millis(ms)),
            ThrottleWait::Date => Some(RetryAfter::Date(seconds)),
            ThrottleWait::Absent => None,
        };
        let effect = Effect::Status {
            status: 429,
            code: Some(code.to_owned()),
            message: None,
            retry_after,
            body: BodyForm::Json,
            when: When::Before,
        };
        self.scripted(&effect, received, item).unwrap_or_default()
    }

    /// Starts the time in which a call counts as early: now, as the answer goes out.
    pub fn hold(&self, waits: &[Wait]) {
        let now = self.clock.elapsed_ms();
        let mut state = self.state();
        for wait in waits {
            let until = now + wait.ms;
            match &wait.item {
                None => state.wait = (now, until),
                Some(place) => {
                    state.item_wait.retain(|_, (_, until)| *until > now);
                    state.item_wait.insert(place.clone(), (now, until));
                }
            }
        }
    }

    fn retry_after(&self, retry_after: RetryAfter) -> String {
        match retry_after {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Millis(ms) => format!("{}.{:03}", ms / 1000, ms % 1000),
            RetryAfter::Date(seconds) => {
                // A date has whole seconds: the next one, so that nobody comes too early by it.
                let ahead = i64::try_from(seconds).unwrap_or(0).saturating_mul(1000).saturating_add(999);
                let at = jiff::Timestamp::from_millisecond(self.clock.now_ms().saturating_add(ahead));
                at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
            }
        }
    }

    /// 429 while a throttle is on.
    pub fn throttled(&self, received: &Received, item: bool) -> Option<Answer> {
        let now = self.clock.elapsed_ms();
        let (left, whole, early) = {
            let state = self.state();
            let (until, whole) = state.throttle?;
            (until.checked_sub(now).filter(|left| *left > 0)?, whole, state.rules.switches.early_call)
        };
        Some(match early {
            EarlyCall::Resets => self.start_throttle(whole, received, item),
            EarlyCall::Nothing => self.too_many(left, received, item),
        })
    }
}
