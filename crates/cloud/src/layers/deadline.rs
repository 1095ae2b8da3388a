//! The time limit of a whole call.

use std::task::{Context, Poll};

use tower::Service;

use super::call::{Boxed, Call, Failure};

/// Ends a call that takes longer than its `within`.
///
/// The client limits each attempt already; this is the wall behind it, so that no fault of the client's (or a token
/// endpoint that hangs, which its limits do not cover) can hold a worker for ever.
#[derive(Clone, Debug)]
pub struct Deadline<S>(pub S);

impl<S, T> Service<Call<T>> for Deadline<S>
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
        let within = call.within;
        let reply = self.0.call(call);
        Box::pin(async move {
            match tokio::time::timeout(within, reply).await {
                Ok(reply) => reply,
                Err(_) => Err(Failure::Overdue(within)),
            }
        })
    }
}
