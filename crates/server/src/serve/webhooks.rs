//! The address at which Buildkite tells that something happened.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Request, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use gust_buildkite::webhook::{self, Refused};
use gust_core::secret::Secret;
use tracing::{debug, error, info};

use super::{ServeError, listeners};
use crate::{clock::Clock, config::Webhooks, rpc::Hints, task::Tasks};

/// Where webhooks are taken.
const PATH: &str = "/webhooks/buildkite";

#[derive(Clone)]
struct Receiver {
    token: Secret,
    hints: Hints,
    clock: Clock,
}

/// Takes webhooks, and passes on what they hint at.
pub(super) async fn serve(
    webhooks: &Webhooks,
    hints: Hints,
    clock: Clock,
    tasks: &Tasks,
) -> Result<SocketAddr, ServeError> {
    let listener = listeners::bind(webhooks.listen).await?;
    let bound = listeners::local(&listener)?;
    let receiver = Receiver {
        token: webhooks.token.clone(),
        hints,
        clock,
    };
    info!(address = %bound, path = PATH, "webhooks are taken");
    let router = router(receiver);
    tasks.spawn("webhooks", async move {
        if let Err(error) = axum::serve(listener, router).await {
            error!(error = crate::error_chain(&error), "the server of webhooks ended");
        }
    });
    Ok(bound)
}

fn router(receiver: Receiver) -> Router {
    Router::new().route(PATH, post(take)).with_state(receiver)
}

async fn take(State(receiver): State<Receiver>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    // An unproven sender costs no more memory than this; one that hangs is cut off by whatever stands in front.
    let Ok(body) = to_bytes(body, webhook::MAX_BODY).await else {
        count("too_large");
        let text = format!(
            "the body is longer than {} bytes, or broke off\n",
            webhook::MAX_BODY
        );
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    };
    match receiver.read(&head.headers, &body) {
        Ok(true) => {
            count("accepted");
            (StatusCode::ACCEPTED, "accepted\n").into_response()
        }
        Ok(false) => {
            count("ignored");
            (StatusCode::ACCEPTED, "of no interest\n").into_response()
        }
        Err(refused) => {
            count(refused.as_str());
            debug!(why = %refused, "a webhook is not taken");
            let status = match refused {
                Refused::SignatureForm | Refused::Body(_) => StatusCode::BAD_REQUEST,
                Refused::NoProof | Refused::Token | Refused::Signature | Refused::Stale { .. } => {
                    StatusCode::UNAUTHORIZED
                }
            };
            (status, format!("{refused}\n")).into_response()
        }
    }
}

impl Receiver {
    /// Whether anything came of a webhook.
    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<bool, Refused> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let (token, signature) = (text(webhook::TOKEN), text(webhook::SIGNATURE));
        webhook::verify(&self.token, token, signature, body, self.clock.now())?;
        let hint = webhook::read(text(webhook::EVENT), body)?;
        let is_news = hint.is_some();
        if let Some(hint) = hint {
            self.hints.give(hint);
        }
        Ok(is_news)
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("gust_webhooks_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests;
