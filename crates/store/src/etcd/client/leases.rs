//! Renewing leases on streams that stay open.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use etcd_client::{Client, Error, LeaseKeepAliveStream, LeaseKeeper};

/// Both halves of a stream on which one lease is renewed.
pub(super) type Stream = (LeaseKeeper, LeaseKeepAliveStream);

/// The open streams by lease, each with the member it goes to. One on which an answer is due is not here: if that
/// answer never comes, the stream is gone with it, and no late answer is taken for that of another renewal.
#[derive(Default)]
pub(super) struct Leases(Mutex<BTreeMap<i64, (usize, Stream)>>);

impl Leases {
    /// Takes the stream of a lease, if there is one to this member.
    pub fn take(&self, lease: i64, member: usize) -> Option<Stream> {
        let (to, stream) = self.lock().remove(&lease)?;
        (to == member).then_some(stream)
    }

    /// Puts it back.
    pub fn put(&self, lease: i64, member: usize, stream: Stream) {
        self.lock().insert(lease, (member, stream));
    }

    /// The lease has ended.
    pub fn forget(&self, lease: i64) {
        self.lock().remove(&lease);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, (usize, Stream)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews a lease: how many seconds it has from now on, 0 if it has ended; and the stream, for the next time.
pub(super) async fn renew(client: Client, lease: i64, open: Option<Stream>) -> Result<(u64, Stream), Error> {
    let (mut keeper, mut stream) = match open {
        Some(open) => open,
        // Opening renews as well, but does not tell for how long.
        None => client.lease_client().keep_alive(lease).await?,
    };
    keeper.keep_alive().await?;
    let closed = || Error::LeaseKeepAliveError("the stream was closed".to_owned());
    let answer = stream.message().await?.ok_or_else(closed)?;
    Ok((u64::try_from(answer.ttl()).unwrap_or(0), (keeper, stream)))
}
