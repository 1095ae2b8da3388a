//! One line of log for each call.

use std::task::{Context, Poll};

use tower::Service;

use super::call::{Boxed, Call, Failure};

/// Logs each call with its method, group, outcome and duration: at debug, since who asked logs what it meant.
#[derive(Clone, Debug)]
pub struct Watch<S>(pub S);

impl<S, T> Service<Call<T>> for Watch<S>
where
    S: Service<Call<T>, Response = T, Error = Failure>,
    S::Future: Send + 'static,
    T: Send + 'static,
{
    type Response = T;
    type Error = Failure;
    type Future = Boxed<Result<T, Failure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let method = call.method;
        let begun = tokio::time::Instant::now();
        let reply = self.0.call(call);
        Box::pin(async move {
            let reply = reply.await;
            let http = match &reply {
                Ok(_) => Some(200),
                Err(Failure::Client(error)) => error.http_status_code(),
                Err(Failure::Overdue(_)) => None,
            };
            tracing::debug!(
                gust.call.method = method.name,
                gust.call.group = method.group.as_str(),
                gust.call.ok = reply.is_ok(),
                gust.call.http = http,
                gust.call.ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                "call"
            );
            reply
        })
    }
}
