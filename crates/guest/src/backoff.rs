//! How long to wait before the next try.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

/// Waits that double, each drawn between half of itself and itself, so that machines that were made together
/// do not come back together.
///
/// The draw is a hash of a machine's own `salt` and the number of the try: spread over machines, the same in
/// every replay of one machine.
#[derive(Clone, Debug)]
pub struct Backoff {
    salt: Vec<u8>,
    first: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    /// Begins with `first` and never waits longer than `longest`.
    pub fn new(salt: &[u8], first: Duration, longest: Duration) -> Self {
        Self {
            salt: salt.to_owned(),
            first,
            longest,
            tries: 0,
        }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// Never ends.
    fn next(&mut self) -> Option<Duration> {
        let full = self
            .first
            .saturating_mul(1 << self.tries.min(20))
            .min(self.longest);
        let seed = [&self.salt[..], &self.tries.to_be_bytes()].concat();
        let drawn = u32::from(digest(&SHA256, &seed).as_ref()[0]);
        self.tries = self.tries.saturating_add(1);
        Some(full / 2 + full / 2 * drawn / 255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(salt: &[u8]) -> Vec<Duration> {
        let backoff = Backoff::new(salt, Duration::from_millis(200), Duration::from_secs(5));
        backoff.take(40).collect()
    }

    #[test]
    fn waits_grow_to_their_bound_and_stay_within_half_of_it() {
        for (n, wait) in waits(b"machine").iter().enumerate() {
            let full = Duration::from_millis(200)
                .saturating_mul(1 << n.min(20))
                .min(Duration::from_secs(5));
            assert!((full / 2..=full).contains(wait), "{n}: {wait:?}");
        }
    }

    #[test]
    fn machines_wait_differently_and_each_always_the_same() {
        assert_eq!(waits(b"a"), waits(b"a"));
        assert_ne!(waits(b"a"), waits(b"b"));
    }
}
