//! From a follower to the leader: what reaches one replica is answered by another.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_core::{
    ids::{ReplicaId, Term},
    ports::Store,
};
use tokio::{sync::watch, time::timeout};
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};

use super::PeerLinks;
use crate::replica::Leadership;

/// Marks a request that was passed on once: it is not passed on again.
const MARK: &str = "gust-forwarded";
/// Longest wait for the roster, which says where the leader is.
const ROSTER: Duration = Duration::from_secs(1);
/// Longest wait for a connection to the leader.
const CONNECT: Duration = Duration::from_secs(2);

/// The way to the leader of one term.
type Known = Option<(ReplicaId, Term, Channel)>;

/// The way from a follower to the leader. Cheap to clone.
#[derive(Clone)]
pub struct Forward {
    leadership: watch::Receiver<Leadership>,
    store: Arc<dyn Store>,
    peers: PeerLinks,
    known: Arc<Mutex<Known>>,
}

impl Forward {
    /// The way from the replica of this leadership.
    pub fn new(leadership: watch::Receiver<Leadership>, store: Arc<dyn Store>, peers: PeerLinks) -> Self {
        Self {
            leadership,
            store,
            peers,
            known: Arc::default(),
        }
    }

    /// The way to the leader for a request, if another replica leads. `passed_on`: it was passed on to us.
    ///
    /// # Errors
    /// `UNAVAILABLE` if nobody is known to lead, or the leader cannot be found: the caller tries again.
    pub async fn leader(&self, passed_on: bool) -> Result<Option<Channel>, Status> {
        let following = match &*self.leadership.borrow() {
            Leadership::Leading { .. } => return Ok(None),
            Leadership::Following { leader, term } => Some((leader.clone(), *term)),
            Leadership::Unknown => None,
        };
        let Some((leader, term)) = following else {
            return Err(Status::unavailable("no replica is known to lead at present"));
        };
        if passed_on {
            // Who passed it on believed that this replica leads.
            return Err(Status::unavailable("this replica does not lead any more"));
        }
        if let Some((known, since, channel)) = &*self.known()
            && (known, since) == (&leader, &term)
        {
            return Ok(Some(channel.clone()));
        }
        let roster = timeout(ROSTER, self.store.roster())
            .await
            .map_err(|_| Status::unavailable("the store does not say where the leader is"))?
            .map_err(|error| Status::unavailable(crate::error_chain(&error)))?;
        let member = roster
            .members
            .get(&leader)
            .ok_or_else(|| Status::unavailable(format!("the leader, {leader}, is not to be found")))?;
        let endpoint = self.peers.endpoint(member).map_err(Status::unavailable)?;
        let channel = endpoint.connect_timeout(CONNECT).connect_lazy();
        *self.known() = Some((leader, term, channel.clone()));
        Ok(Some(channel))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is passed on.
pub(super) fn marked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert(MARK, MetadataValue::from_static("1"));
    request
}

/// Whether a request was passed on.
pub(super) fn is_marked<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(MARK)
}
