//! Mode C: one client request handed to the handler and its response handed back, with the host's repeats.

mod headers;

use super::{
    clock::pause,
    http1::{
        Connection, Framing, WireError, chunk,
        client::{Pool, ResponseHead},
        server::{RequestHead, response_head},
    },
    routes::Target,
};
use headers::unusable;
use std::time::Duration;

/// Largest request body the host takes, in bytes.
pub const BODY_LIMIT: u64 = 104_857_600;
/// Waits between the tries of a failed exchange, in milliseconds.
const WAITS: [u64; 9] = [50, 100, 200, 250, 250, 250, 250, 250, 250];
/// How often the HTTP client itself sends a request whose connection ends without an answer.
const INNER_TRIES: usize = 4;
/// Small upload pieces are held together up to this size, in bytes.
const HELD: usize = 4096;

/// Time limits of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The platform's front end gives up when no response head came for so long.
    pub front_end: Duration,
    /// The proxy gives up after so long a silence.
    pub activity: Duration,
}

/// How an exchange ended.
#[derive(Debug)]
pub struct Exchange {
    /// The status that the client got; `None` where it left or was cut off.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// How often the handler was asked.
    pub sent: usize,
    /// Whether the client's connection may be used again.
    pub keep: bool,
    /// Set when the client's connection is to be closed with a reset.
    pub reset: bool,
}

/// One request on its way.
pub struct Proxied<'a> {
    /// The client's request.
    pub head: &'a RequestHead,
    /// Its target.
    pub target: &'a Target,
    /// The invocation id.
    pub id: &'a str,
    /// The client's address.
    pub peer: &'a str,
    /// Date for responses, as HTTP writes it.
    pub date: &'a str,
    /// Time limits.
    pub limits: Limits,
}

enum Failure {
    /// Nothing usable came: the proxy tries again.
    Again(WireError),
    /// The client left or its body is broken.
    Client(String),
    /// The response cannot be handed on: no further try.
    Final(String),
    /// The front end's time is up.
    Late,
}

impl From<WireError> for Failure {
    fn from(why: WireError) -> Self {
        match why {
            WireError::Unusable(text) => Self::Final(text),
            other => Self::Again(other),
        }
    }
}

struct Upload {
    framing: Framing,
    taken: u64,
    started: bool,
    broken: Option<String>,
}

impl Proxied<'_> {
    /// Runs the exchange to its end.
    pub async fn run(&self, client: &mut Connection, pool: &Pool) -> Exchange {
        let mut sent = 0;
        let mut upload = Upload { framing: self.head.framing, taken: 0, started: false, broken: None };
        let answered = tokio::select! {
            answered = self.ask(client, pool, &mut upload, &mut sent) => answered,
            () = pause(self.limits.front_end) => Err(Failure::Late),
        };
        match answered {
            Ok((connection, response)) => {
                let rest = &mut upload;
                self.hand_back(client, pool, connection, response, sent, rest).await
            }
            Err(Failure::Client(why)) => {
                Exchange { status: None, error: Some(why), sent, keep: false, reset: true }
            }
            Err(Failure::Again(why)) => self.fail(client, 500, why.to_string(), sent, &mut upload).await,
            Err(Failure::Final(why)) => self.fail(client, 500, why, sent, &mut upload).await,
            Err(Failure::Late) => {
                let why = "the front end's time is up".to_owned();
                self.fail(client, 504, why, sent, &mut upload).await
            }
        }
    }

    /// Tries until a response head is there.
    async fn ask(
        &self,
        client: &mut Connection,
        pool: &Pool,
        upload: &mut Upload,
        sent: &mut usize,
    ) -> Result<(Connection, ResponseHead), Failure> {
        let bodiless = self.head.framing == Framing::Empty;
        let inner_tries = if bodiless && !self.has_content() { INNER_TRIES } else { 1 };
        let mut waits = WAITS.iter();
        loop {
            let mut failure = Failure::Again(WireError::Closed);
            for _inner in 0..inner_tries {
                if upload.started {
                    let broken = upload.broken.clone();
                    let why = broken.unwrap_or_else(|| "Stream was already consumed.".to_owned());
                    failure = Failure::Again(WireError::Invalid(why));
                    break;
                }
                match self.once(client, pool, upload, sent).await {
                    Ok(answer) => return Ok(answer),
                    Err(Failure::Again(WireError::Closed)) => failure = Failure::Again(WireError::Closed),
                    Err(other) => {
                        failure = other;
                        break;
                    }
                }
            }
            let Failure::Again(_) = &failure else { return Err(failure) };
            let Some(wait) = waits.next() else { return Err(failure) };
            // A client that leaves meanwhile is noticed; one whose body is still to come is not read ahead.
            if bodiless {
                tokio::select! {
                    () = pause(Duration::from_millis(*wait)) => {}
                    () = client.closed() => return Err(Failure::Client("the client left".to_owned())),
                }
            } else {
                pause(Duration::from_millis(*wait)).await;
            }
        }
    }

    /// Sends the request once and waits for the head of the response.
    async fn once(
        &self,
        client: &mut Connection,
        pool: &Pool,
        upload: &mut Upload,
        sent: &mut usize,
    ) -> Result<(Connection, ResponseHead), Failure> {
        let head = self.request_head(pool.port())?;
        let mut connection = pool.take().await?;
        *sent += 1;
        connection.send(&head).await?;
        self.upload(client, &mut connection, upload).await?;
        let answer = tokio::select! {
            answer = connection.read_response_head() => answer?,
            () = client.closed() => return Err(Failure::Client("the client left".to_owned())),
            () = pause(self.limits.activity) => return Err(Failure::Final("no answer within the activity timeout".to_owned())),
        };
        Ok((connection, answer))
    }

    /// Hands the client's body on, small pieces together.
    async fn upload(
        &self,
        client: &mut Connection,
        to: &mut Connection,
        upload: &mut Upload,
    ) -> Result<(), Failure> {
        if upload.framing == Framing::Empty {
            return Ok(());
        }
        upload.started = true;
        let broken = |upload: &mut Upload, why: String| {
            upload.broken = Some(why.clone());
            Failure::Again(WireError::Invalid(why))
        };
        if matches!(upload.framing, Framing::Length(length) if length > BODY_LIMIT) {
            return Err(broken(upload, WireError::BodyTooLarge(BODY_LIMIT).to_string()));
        }
        if self.head.expects_continue() && !client.has_unread() {
            client
                .send(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .map_err(|why| Failure::Client(why.to_string()))?;
        }
        let chunked = upload.framing == Framing::Chunked;
        let mut held = Vec::new();
        loop {
            let piece = tokio::select! {
                piece = client.body_piece(&mut upload.framing) => piece,
                () = pause(self.limits.activity) => return Err(Failure::Final("the upload stalled".to_owned())),
            };
            let piece = match piece {
                Ok(piece) => piece,
                Err(why @ WireError::Invalid(_)) => return Err(broken(upload, why.to_string())),
                Err(why) => return Err(Failure::Client(why.to_string())),
            };
            let last = piece.is_none();
            if let Some(piece) = piece {
                upload.taken += piece.len() as u64;
                if upload.taken > BODY_LIMIT {
                    return Err(broken(upload, WireError::BodyTooLarge(BODY_LIMIT).to_string()));
                }
                held.extend_from_slice(&piece);
            }
            if (last || held.len() >= HELD) && !held.is_empty() {
                let bytes = if chunked { chunk(&held) } else { std::mem::take(&mut held) };
                held.clear();
                to.send(&bytes).await?;
            }
            if last {
                if chunked {
                    to.send(b"0\r\n\r\n").await?;
                }
                return Ok(());
            }
        }
    }

    /// Hands the response on; its head goes out with the first piece of the body.
    async fn hand_back(
        &self,
        client: &mut Connection,
        pool: &Pool,
        mut from: Connection,
        response: ResponseHead,
        sent: usize,
        upload: &mut Upload,
    ) -> Exchange {
        let has_length = response.headers.all("content-length").any(|value| value != b"0");
        let mut framing = match response.framing(&self.head.method) {
            Ok(framing) => framing,
            Err(why) => return self.fail(client, 500, why.to_string(), sent, upload).await,
        };
        if let Some(why) = unusable(&response) {
            return self.fail(client, 500, why, sent, upload).await;
        }
        if response.status == 204 && has_length {
            return self
                .fail(client, 500, "Response status code 204 with a body".to_owned(), sent, upload)
                .await;
        }
        let reusable = response.keeps_alive(framing);
        let chunked = matches!(framing, Framing::Chunked | Framing::UntilClose) && !self.head.old;
        let keep = self.head.keep_alive
            && !(self.head.old && matches!(framing, Framing::Chunked | Framing::UntilClose));
        let mut head = Some(self.head_for_client(&response, framing, chunked, keep));
        let mut failed = None;
        loop {
            let piece = tokio::select! {
                piece = from.body_piece(&mut framing) => piece,
                () = client.closed() => {
                    return Exchange { status: None, error: Some("the client left".to_owned()), sent, keep: false, reset: true };
                }
                () = pause(self.limits.activity) => Err(WireError::Invalid("silence in the middle of the answer".to_owned())),
            };
            let (mut bytes, last) = match piece {
                Ok(Some(piece)) => (if chunked { chunk(&piece) } else { piece.to_vec() }, false),
                Ok(None) => (if chunked { b"0\r\n\r\n".to_vec() } else { Vec::new() }, true),
                Err(why) => {
                    failed = Some(why.to_string());
                    break;
                }
            };
            if let Some(mut whole) = head.take() {
                whole.append(&mut bytes);
                bytes = whole;
            }
            if client.send(&bytes).await.is_err() {
                return Exchange {
                    status: None,
                    error: Some("the client left".to_owned()),
                    sent,
                    keep: false,
                    reset: true,
                };
            }
            if last {
                break;
            }
        }
        match failed {
            None => {
                if reusable {
                    pool.give(from);
                }
                Exchange { status: Some(response.status), error: None, sent, keep, reset: false }
            }
            // Nothing went out yet: the client can still be told.
            Some(why) if head.is_some() => self.fail(client, 500, why, sent, upload).await,
            Some(why) => {
                Exchange { status: Some(response.status), error: Some(why), sent, keep: false, reset: true }
            }
        }
    }

    /// Answers with an empty body and reads what is left of the upload.
    async fn fail(
        &self,
        client: &mut Connection,
        status: u16,
        why: String,
        sent: usize,
        upload: &mut Upload,
    ) -> Exchange {
        let too_large = matches!(upload.framing, Framing::Length(length) if length > BODY_LIMIT);
        let keep = self.head.keep_alive && !too_large;
        let answer = empty_response(status, self.head.method == "HEAD", keep, self.date);
        let told = client.send(&answer).await.is_ok();
        let goes_on = told && keep && upload.broken.is_none() && client.drain(&mut upload.framing).await;
        Exchange { status: told.then_some(status), error: Some(why), sent, keep: goes_on, reset: false }
    }
}

/// A response with an empty body.
pub fn empty_response(status: u16, to_head: bool, keep: bool, date: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    if !to_head {
        headers.push(("Content-Length".to_owned(), b"0".to_vec()));
    }
    if !keep {
        headers.push(("Connection".to_owned(), b"close".to_vec()));
    }
    response_head(status, "", &headers, date)
}
