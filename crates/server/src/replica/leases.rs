//! The leases a replica holds, for who gives them back if it dies.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use gust_core::ports::LeaseId;

type Listener = dyn Fn(&BTreeSet<LeaseId>) + Send + Sync;

/// The leases that are held. Clones are the same.
#[derive(Clone, Default)]
pub struct Leases {
    held: Arc<Mutex<BTreeSet<LeaseId>>>,
    listener: Option<Arc<Listener>>,
}

impl Leases {
    /// `listener` is told all leases whenever one comes or goes, before anything is tied to the one that comes.
    pub fn told_to(listener: impl Fn(&BTreeSet<LeaseId>) + Send + Sync + 'static) -> Self {
        Self {
            held: Arc::default(),
            listener: Some(Arc::new(listener)),
        }
    }

    /// A lease was granted.
    pub(super) fn add(&self, lease: LeaseId) {
        self.change(|held| held.insert(lease));
    }

    /// A lease was given back, or has lapsed.
    pub(super) fn remove(&self, lease: LeaseId) {
        self.change(|held| held.remove(&lease));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<LeaseId>) -> bool) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut held)
            && let Some(listener) = &self.listener
        {
            listener(&held);
        }
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leases").field(&self.held).finish()
    }
}
