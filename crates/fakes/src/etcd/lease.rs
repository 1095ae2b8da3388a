//! Leases and the keys tied to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::types::Error;

/// An election timeout of etcd's default configuration.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// One and a half election timeouts, in whole seconds: no lease is shorter.
const LEAST_TTL: u64 = 2;
/// etcd's limit in seconds.
const MOST_TTL: u64 = 9_000_000_000;
/// How often etcd looks for expired leases.
const LOOK: Duration = Duration::from_millis(500);
/// Ids of the real one are large, too: nobody should take one for a count.
const FIRST_ID: i64 = 0x6940_0000_0000_0001;

#[derive(Debug)]
struct Lease {
    ttl: u64,
    expiry: Duration,
    keys: BTreeSet<String>,
}

/// All leases.
#[derive(Debug, Default)]
pub(super) struct Lessor {
    granted: i64,
    leases: BTreeMap<i64, Lease>,
    by_expiry: BTreeSet<(Duration, i64)>,
}

impl Lessor {
    pub fn grant(&mut self, now: Duration, ttl: u64) -> Result<(i64, u64), Error> {
        if ttl > MOST_TTL {
            return Err(Error::LeaseTtlTooLarge);
        }
        let ttl = ttl.max(LEAST_TTL);
        let id = FIRST_ID + self.granted;
        self.granted += 1;
        let expiry = now + Duration::from_secs(ttl);
        self.by_expiry.insert((expiry, id));
        self.leases.insert(
            id,
            Lease {
                ttl,
                expiry,
                keys: BTreeSet::new(),
            },
        );
        Ok((id, ttl))
    }

    /// An expired lease lives until it is found to be.
    pub fn lives(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    pub fn expired(&self, now: Duration, id: i64) -> bool {
        self.leases.get(&id).is_some_and(|lease| lease.expiry <= now)
    }

    pub fn renew(&mut self, now: Duration, id: i64) -> Result<u64, Error> {
        let lease = self.leases.get_mut(&id).ok_or(Error::LeaseNotFound)?;
        self.by_expiry.remove(&(lease.expiry, id));
        lease.expiry = now + Duration::from_secs(lease.ttl);
        self.by_expiry.insert((lease.expiry, id));
        Ok(lease.ttl)
    }

    /// Ends a lease; returns its keys in their order.
    pub fn revoke(&mut self, id: i64) -> Result<BTreeSet<String>, Error> {
        let lease = self.leases.remove(&id).ok_or(Error::LeaseNotFound)?;
        self.by_expiry.remove(&(lease.expiry, id));
        Ok(lease.keys)
    }

    /// A key was tied to one lease and is now tied to another; 0 is none.
    pub fn attach(&mut self, key: &str, before: i64, after: i64) {
        if before == after {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&before) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&after) {
            lease.keys.insert(key.to_owned());
        }
    }

    pub fn promote(&mut self, now: Duration) {
        self.by_expiry.clear();
        for (id, lease) in &mut self.leases {
            lease.expiry = now + ELECTION_TIMEOUT + Duration::from_secs(lease.ttl);
            self.by_expiry.insert((lease.expiry, *id));
        }
    }

    /// The next lease that is found to have expired by now.
    pub fn due(&self, now: Duration) -> Option<i64> {
        let (expiry, id) = self.by_expiry.first()?;
        (found(*expiry) <= now).then_some(*id)
    }

    pub fn next_due(&self) -> Option<Duration> {
        self.by_expiry.first().map(|(expiry, _)| found(*expiry))
    }
}

/// When etcd looks for the first time after a lease has expired.
fn found(expiry: Duration) -> Duration {
    let looks = expiry.as_nanos().div_ceil(LOOK.as_nanos());
    LOOK * u32::try_from(looks).unwrap_or(u32::MAX)
}
