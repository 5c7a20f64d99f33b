//! Request bodies: read to their end before anything answers.
//!
//! The Functions host hands the upload on while it waits for the answer. An answer that comes before its end closes
//! the connection under the host, and the caller then gets the host's own 500 instead of the answer.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http_body::Body as _;

use super::request::LARGEST_BODY;
use crate::error::Problem;

/// More than this is not taken in, in bytes; the host itself refuses it (functions-host.md, correction 15).
const LARGEST_UPLOAD: usize = 100 * 1024 * 1024;

/// Reads the body. Of one that is too large only so much goes on that its size can be refused.
pub(super) async fn read_whole(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match read(body).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(_) => {
            Problem::bad_request("body_cut_short", "the body ended before it was complete").into_response()
        }
    }
}

async fn read(body: Body) -> Result<Bytes, axum::Error> {
    let mut stream = body.into_data_stream();
    let first = stream.next().await.transpose()?.unwrap_or_default();
    let Some(second) = stream.next().await.transpose()? else { return Ok(first) };
    let mut kept = Vec::with_capacity((first.len() + second.len()).min(LARGEST_BODY + 1));
    let mut total = 0;
    let mut keep = |chunk: &Bytes| {
        let room = LARGEST_BODY + 1 - kept.len();
        kept.extend_from_slice(&chunk.slice(..room.min(chunk.len())));
        total += chunk.len();
        total
    };
    keep(&first);
    keep(&second);
    while let Some(chunk) = stream.next().await.transpose()? {
        if keep(&chunk) > LARGEST_UPLOAD {
            break;
        }
    }
    Ok(Bytes::from(kept))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    fn body(chunks: usize, size: usize) -> Body {
        let chunks = (0..chunks).map(move |_| Ok::<_, Infallible>(Bytes::from(vec![b'a'; size])));
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_is_whole_up_to_the_limit_and_one_byte_more_beyond_it() {
        for (chunks, size) in [(0, 0), (1, 10), (2, 10), (3, LARGEST_BODY / 3)] {
            assert_eq!(read(body(chunks, size)).await.unwrap().len(), chunks * size);
        }
        for (chunks, size) in [(2, LARGEST_BODY), (50, LARGEST_BODY / 3)] {
            assert_eq!(read(body(chunks, size)).await.unwrap().len(), LARGEST_BODY + 1);
        }
    }

    #[tokio::test]
    async fn an_endless_body_is_left_at_last() {
        assert_eq!(read(body(usize::MAX, 1024 * 1024)).await.unwrap().len(), LARGEST_BODY + 1);
    }
}
