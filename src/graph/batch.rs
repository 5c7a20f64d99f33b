//! Several requests in one HTTP request: Graph's `$batch`.
//!
//! Source: Microsoft's page *Combine multiple HTTP requests using JSON batching*: at most 20 items, each with an id
//! of its own, answers in any order, each with its own status and headers.

use super::{
    client::{Call, GraphClient},
    request::{Answer, Method, NotSent, Outcome, Request, Unknown},
    wire::{Lost, etag_of, is_doubtful},
};
use crate::{clock::SharedClock, retry::parse_retry_after};
use base64::Engine;
use serde_json::{Map, Value, json};

/// The most requests that one batch may hold.
pub const MAX_BATCH: usize = 20;

impl GraphClient {
    /// Sends up to [`MAX_BATCH`] requests together and answers one outcome for each, in the order of `requests`.
    ///
    /// One request is sent as itself. Items have no order among each other: whoever needs one after another sends
    /// two batches. A batch that only reads is repeated as a single read is; its items are not.
    /// More than [`MAX_BATCH`] requests are none sent: every outcome is [`NotSent::Invalid`].
    pub async fn batch(&self, requests: Vec<Request>) -> Vec<Outcome> {
        let count = requests.len();
        if count > MAX_BATCH {
            return vec![Outcome::NotSent(NotSent::Invalid("a batch holds at most 20 requests")); count];
        }
        let beta = requests.iter().filter(|request| request.beta).count();
        if beta > 0 && beta < count {
            return self.both_versions(requests).await;
        }
        let mut requests = requests;
        if count < 2 {
            return match requests.pop() {
                Some(request) => vec![self.send(request).await],
                None => Vec::new(),
            };
        }
        let mut outcomes = vec![Outcome::Unknown(Unknown::MissingFromBatch); count];
        let mut places = Vec::with_capacity(count);
        // Checked one by one, so that a path that may not be sent takes no other request down with it.
        for (place, request) in requests.iter().enumerate() {
            match self.inner.url_of(request) {
                Ok(_) => places.push(place),
                Err(reason) => outcomes[place] = Outcome::NotSent(reason),
            }
        }
        let token = match self.inner.write_token().await {
            Ok(token) => token,
            Err(reason) => {
                for place in places {
                    outcomes[place] = Outcome::NotSent(reason.clone());
                }
                return outcomes;
            }
        };
        self.send_places(&requests, &places, &mut outcomes).await;
        // An item that was rejected for its token did nothing: once more with a new token.
        places.retain(|place| matches!(&outcomes[*place], Outcome::Answer(answer) if answer.status == 401));
        if !places.is_empty() && self.inner.renewed(&token).await.is_some() {
            self.send_places(&requests, &places, &mut outcomes).await;
        }
        outcomes
    }

    /// A batch belongs to one version of Graph: two are sent side by side.
    async fn both_versions(&self, requests: Vec<Request>) -> Vec<Outcome> {
        let versions: Vec<bool> = requests.iter().map(|request| request.beta).collect();
        let (beta, usual): (Vec<Request>, Vec<Request>) =
            requests.into_iter().partition(|request| request.beta);
        let (beta, usual) =
            futures::future::join(Box::pin(self.batch(beta)), Box::pin(self.batch(usual))).await;
        let (mut beta, mut usual) = (beta.into_iter(), usual.into_iter());
        let mut next = |is_beta| if is_beta { beta.next() } else { usual.next() };
        let missing = Outcome::Unknown(Unknown::MissingFromBatch);
        versions.into_iter().map(|is_beta| next(is_beta).unwrap_or_else(|| missing.clone())).collect()
    }

    /// Sends the requests at `places` as one batch and puts their outcomes in place.
    async fn send_places(&self, requests: &[Request], places: &[usize], outcomes: &mut [Outcome]) {
        let same_for_all = |outcomes: &mut [Outcome], outcome: Outcome| {
            for place in places {
                outcomes[*place] = outcome.clone();
            }
        };
        if places.is_empty() {
            return;
        }
        match self.send_batch(requests, places).await {
            Ok(answer) if answer.is_success() => match by_id(&answer, requests.len(), &self.inner.clock) {
                Ok(mut answers) => {
                    for place in places {
                        let missing = Outcome::Unknown(Unknown::MissingFromBatch);
                        outcomes[*place] = answers[*place].take().unwrap_or(missing);
                    }
                }
                Err(reason) => same_for_all(outcomes, Outcome::Unknown(reason)),
            },
            // The batch as a whole was refused, so none of it happened.
            Ok(answer) => same_for_all(outcomes, Outcome::Answer(answer)),
            Err(Lost::Unknown(reason)) => same_for_all(outcomes, Outcome::Unknown(reason)),
            Err(Lost::NotSent(reason)) => same_for_all(outcomes, Outcome::NotSent(reason)),
        }
    }

    async fn send_batch(&self, requests: &[Request], places: &[usize]) -> Result<Answer, Lost> {
        let beta = places.iter().any(|place| requests[*place].beta);
        let url = self.inner.url_below(if beta { "/beta" } else { "/v1.0" }, "/$batch")?;
        let items: Vec<Value> = places.iter().map(|place| item(*place, &requests[*place])).collect();
        let body = json!({ "requests": items });
        let call = || Call {
            method: Method::Post,
            url: url.clone(),
            if_match: None,
            prefer: None,
            body: Some(&body),
            not_after: places.iter().filter_map(|place| requests[*place].not_after).min(),
            sub_requests: places.len() as u64,
        };
        if places.iter().all(|place| requests[*place].method == Method::Get) {
            self.inner.read(call).await
        } else {
            let token = self.inner.write_token().await?;
            self.inner.call(&token, &call()).await
        }
    }
}

fn item(at: usize, request: &Request) -> Value {
    let mut headers = Map::new();
    if request.body.is_some() {
        headers.insert("Content-Type".into(), "application/json".into());
    }
    if let Some(etag) = &request.if_match {
        headers.insert("If-Match".into(), etag.as_str().into());
    }
    if request.prefer_representation {
        headers.insert("Prefer".into(), "return=representation".into());
    }
    let mut item = Map::new();
    item.insert("id".into(), id(at).into());
    item.insert("method".into(), request.method.as_str().into());
    item.insert("url".into(), request.path.as_str().into());
    if !headers.is_empty() {
        item.insert("headers".into(), headers.into());
    }
    if let Some(body) = &request.body {
        item.insert("body".into(), body.clone());
    }
    item.into()
}

fn id(at: usize) -> String {
    (at + 1).to_string()
}

/// The outcomes of the items that the answer holds, by their place in the request.
///
/// An id that was not asked for is ignored; one that comes twice with different answers says nothing certain.
fn by_id(answer: &Answer, count: usize, clock: &SharedClock) -> Result<Vec<Option<Outcome>>, Unknown> {
    let responses = answer.body.as_ref().and_then(|body| body.get("responses")).and_then(Value::as_array);
    let Some(responses) = responses else {
        return Err(Unknown::Unreadable("it is no batch answer"));
    };
    let mut outcomes: Vec<Option<Outcome>> = vec![None; count];
    for response in responses {
        let place = (0..count).find(|at| response.get("id").and_then(Value::as_str) == Some(&id(*at)));
        let Some(place) = place else {
            tracing::warn!(
                code = "graph_batch_foreign_item",
                "Graph's batch answer holds an item nobody asked for"
            );
            continue;
        };
        let outcome = outcome(response, clock);
        outcomes[place] = Some(match outcomes[place].take() {
            Some(earlier) if earlier != outcome => {
                Outcome::Unknown(Unknown::Unreadable("its batch holds two answers for one request"))
            }
            _ => outcome,
        });
    }
    Ok(outcomes)
}

fn outcome(response: &Value, clock: &SharedClock) -> Outcome {
    let status = response.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let Some(status) = status.filter(|status| (100..600).contains(status)) else {
        return Outcome::Unknown(Unknown::Unreadable("a batch item has no status"));
    };
    let retry_after =
        header(response, "Retry-After").and_then(|value| parse_retry_after(&value, clock.now_ms()));
    if is_doubtful(status) {
        return Outcome::Unknown(Unknown::ServerError { status, retry_after });
    }
    if (300..400).contains(&status) {
        return Outcome::Unknown(Unknown::Unreadable("a batch item is a redirect"));
    }
    let body = response.get("body").and_then(item_body);
    let etag = etag_of(body.as_ref()).or_else(|| header(response, "ETag"));
    Outcome::Answer(Answer { status, retry_after, etag, body })
}

fn header(response: &Value, name: &str) -> Option<String> {
    let headers = response.get("headers")?.as_object()?;
    let value = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// JSON as it stands; a body that was no JSON comes as base64 of its bytes.
fn item_body(body: &Value) -> Option<Value> {
    match body {
        Value::Null => None,
        Value::String(text) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            serde_json::from_slice(&bytes).ok()
        }
        other => Some(other.clone()),
    }
}
