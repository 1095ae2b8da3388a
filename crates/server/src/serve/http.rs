//! Metrics and probes over HTTP, in plain text.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::watch;
use tracing::{error, info};

use super::{
    ServeError, listeners,
    metrics::{Counted, render_state},
};
use crate::{leader::Handle, replica::Leadership, task::Tasks};

/// How long a leader may think about its figures; a scrape must end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the pages are made of.
#[derive(Clone)]
pub(super) struct Pages {
    pub counted: Counted,
    pub handle: Handle,
    pub leadership: watch::Receiver<Leadership>,
}

/// Serves `/metrics`, `/livez` and `/readyz`.
pub(super) async fn serve(
    address: SocketAddr,
    pages: Pages,
    tasks: &Tasks,
) -> Result<SocketAddr, ServeError> {
    let listener = listeners::bind(address).await?;
    let bound = listeners::local(&listener)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    info!(address = %bound, "metrics and probes are served");
    tasks.spawn("http", async move {
        if let Err(error) = axum::serve(listener, router).await {
            error!(error = crate::error_chain(&error), "the HTTP server ended");
        }
    });
    Ok(bound)
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    let leadership = pages.leadership.borrow().clone();
    // The leader alone knows the whole; from others the figures are absent, not zero.
    let status = pages.handle.status(PATIENCE).await.ok().flatten();
    let text = pages.counted.render() + &render_state(&leadership, status.as_ref());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    match &*pages.leadership.borrow() {
        Leadership::Unknown => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no replica is known to lead\n".to_owned(),
        ),
        Leadership::Following { leader, term } => (
            StatusCode::OK,
            format!("ready: {leader} leads since term {}\n", term.0),
        ),
        Leadership::Leading { term } => (StatusCode::OK, format!("ready: leads since term {}\n", term.0)),
    }
}
