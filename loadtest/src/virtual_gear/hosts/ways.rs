//! Ways between replicas that are cut, and ports that refuse.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Hosts, OnMet};

/// A way that is cut.
pub(super) struct Cut {
    pub until: Instant,
    /// To be called when something is hindered; shared by both directions, and called once.
    pub met: Arc<Mutex<Option<OnMet>>>,
}

impl Hosts {
    /// Cuts the way from `a` to `b`, and back unless `half`. `met` is called when it first hinders something.
    pub fn cut(&self, a: usize, b: usize, lasting: Duration, half: bool, met: OnMet) {
        let until = Instant::now() + lasting;
        let met = Arc::new(Mutex::new(Some(met)));
        let mut cuts = self.cuts();
        let mut ways = vec![(a, b)];
        if !half {
            ways.push((b, a));
        }
        for way in ways {
            let met = Arc::clone(&met);
            cuts.insert(way, Cut { until, met });
        }
        drop(cuts);
        self.heals_after(lasting);
    }

    /// The port of a replica refuses everybody for so long, although it lives. `met` is called when it first does.
    pub fn close(&self, replica: usize, lasting: Duration, met: OnMet) {
        let until = Instant::now() + lasting;
        let met = Arc::new(Mutex::new(Some(met)));
        self.closed().insert(replica, Cut { until, met });
        self.heals_after(lasting);
    }

    /// A way is not what it was, and is again after so long.
    pub(super) fn heals_after(&self, lasting: Duration) {
        let hosts = self.clone();
        self.inner.changed.notify_waiters();
        self.inner.world.spawn("heal", async move {
            tokio::time::sleep(lasting).await;
            hosts.inner.changed.notify_waiters();
        });
    }

    /// Something is on its way from `a` to `b`: until when that way is cut, if it is. A cut has met something then.
    pub fn hindered(&self, a: usize, b: usize) -> Option<Instant> {
        let (until, met) = {
            let cuts = self.cuts();
            let cut = cuts.get(&(a, b)).filter(|cut| cut.until > Instant::now())?;
            (cut.until, Arc::clone(&cut.met))
        };
        meets(&met);
        Some(until)
    }

    /// Somebody knocks at a replica's port: true if it is refused although the replica lives.
    pub(super) fn is_closed(&self, replica: usize) -> bool {
        let met = {
            let closed = self.closed();
            let cut = closed.get(&replica).filter(|cut| cut.until > Instant::now());
            cut.map(|cut| Arc::clone(&cut.met))
        };
        met.inspect(meets).is_some()
    }

    pub(super) fn closed(&self) -> MutexGuard<'_, BTreeMap<usize, Cut>> {
        self.inner.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cuts(&self) -> MutexGuard<'_, BTreeMap<(usize, usize), Cut>> {
        self.inner.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells that something planned has met something, the first time.
fn meets(met: &Arc<Mutex<Option<OnMet>>>) {
    let met = met.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(met) = met {
        met();
    }
}
