//! What a request leaves behind once it is answered: where the timer has failed to run the sync, one cycle of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};

use crate::planner::Planner;

/// Looks after the sync when the answer has been taken off our hands, never before.
pub(super) async fn look_after_sync(
    State(planner): State<Planner>,
    request: Request,
    next: Next,
) -> Response {
    next.run(request).await.map(|body| Body::new(Answer { body, planner }))
}

/// The body of an answer. It is dropped when it was sent, or when nobody wants it any more.
struct Answer {
    body: Body,
    planner: Planner,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.planner.answered();
    }
}
