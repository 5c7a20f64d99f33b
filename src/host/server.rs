//! The HTTP server that the host talks to: on 127.0.0.1, bound last, `GET /` answered at once.

use super::triggers::Triggers;
use crate::error::Problem;
use axum::{Router, extract::Request, response::IntoResponse, routing::get, serve::ListenerExt};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

/// Everything that the handler answers: the host's readiness question `GET /`, triggers, and the rest by `api`, which
/// answers what it does not know with a problem. A panic is answered with 500.
pub fn router(api: Router, triggers: Triggers) -> Router {
    let triggers = Arc::new(triggers);
    Router::new()
        .route("/", get(readiness))
        .fallback(move |request: Request| {
            let (triggers, api) = (Arc::clone(&triggers), api.clone());
            async move {
                match triggers.answer(request).await {
                    Ok(reply) => reply,
                    Err(request) => api.oneshot(request).await.into_response(),
                }
            }
        })
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::internal().into_response()
        }))
}

/// The host takes any answer for readiness; it must come before anything else is asked.
async fn readiness() -> &'static str {
    "Annika\n"
}

/// Binds `port` on 127.0.0.1 (0: any free port). The host gives a respawned handler the same port again, so
/// addresses in TIME_WAIT are taken over.
///
/// # Errors
/// When the port is taken or cannot be bound.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(1024)
}

/// Serves until `stop` is cancelled and the requests in flight are answered.
///
/// # Errors
/// When the server itself ends in an error.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(code = "nodelay", "TCP_NODELAY could not be set: {error}");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}
