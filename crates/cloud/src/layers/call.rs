//! One call on its way to the cloud, and the innermost service, which makes it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use google_cloud_gax::error::Error as ClientError;
use gust_core::{budget::Urgency, ids::Region};
use tower::Service;

/// A boxed future that may move between threads.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Which of Google's rate quotas a call is charged to; windows are per project, and per region but for the
/// global one. Source: the legacy groups of docs.cloud.google.com/compute/docs/api-rate-limits (2026-04-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Everything that changes something (`default_per_region`).
    Write,
    /// Reads of one resource (`read_requests_per_region`).
    Read,
    /// Lists (`list_requests_per_region`).
    List,
    /// Reads of one operation (`operation_read_requests_per_region`).
    OperationRead,
    /// Waits (`heavy_weight_read_requests_per_region`).
    HeavyRead,
    /// Reads of what belongs to no region (`read_requests`).
    GlobalRead,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Write,
        Self::Read,
        Self::List,
        Self::OperationRead,
        Self::HeavyRead,
        Self::GlobalRead,
    ];

    /// The word used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::List => "list",
            Self::OperationRead => "operation_read",
            Self::HeavyRead => "heavy_read",
            Self::GlobalRead => "global_read",
        }
    }
}

/// What is called: Google's name of the method and the group it is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Name such as `regionInstances.bulkInsert`.
    pub name: &'static str,
    /// Quota group.
    pub group: Group,
    /// It makes something: what removes something of the same group goes before it.
    pub creates: bool,
}

impl Method {
    pub(super) fn urgency(self) -> Urgency {
        match self.creates {
            true => Urgency::Normal,
            false => Urgency::First,
        }
    }
}

/// Why a call ended without a reply that the caller can use.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client's own error: a refusal, a broken connection, a reply that is no JSON.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It took longer than it may.
    #[error("no reply within {} s", .0.as_secs())]
    Overdue(Duration),
}

/// One call: what it is, how long it may take, and the future that makes it.
pub struct Call<T> {
    /// What is called.
    pub method: Method,
    /// The region whose account it is charged to.
    pub region: Region,
    /// Longest time it may take, once it has begun.
    pub within: Duration,
    /// Makes the call.
    pub run: Boxed<Result<T, ClientError>>,
}

/// The innermost service: makes the call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make;

impl<T: Send + 'static> Service<Call<T>> for Make {
    type Response = T;
    type Error = Failure;
    type Future = Boxed<Result<T, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        Box::pin(async move { Ok(call.run.await?) })
    }
}
