//! Known faults that can be put back into the program, one at a time, to show that the checks notice.
//!
//! A point reads `if !mutant!("name") { … }`. Without the feature `mutants`, which no shipped build enables, it
//! is the constant `false` and leaves nothing behind.

/// The names of all points; a point with another name does not compile with the feature.
pub const NAMES: &[&str] = &[
    "effect-before-commit",
    "guard-skipped",
    "term-not-compared",
    "request-id-renewed",
    "claim-not-single-use",
    "promise-not-counted",
    "delete-forgotten",
    "timer-lost",
    "reason-not-updated",
    "reservation-not-renewed",
    "page-end-trusted",
    "cancel-ignored",
    "lease-believed",
    "owner-never-stops",
    "shard-key-ignored",
    "state-not-repeated",
    "unclear-taken-for-written",
    "lease-stopped-late",
    "late-renewal-untold",
    "shard-not-looked-at",
    "stale-events-believed",
    "resumed-as-new",
    "silent-watch-trusted",
    "adoption-forgotten",
    "commits-not-chained",
    "records-half-loaded",
    "orders-ignored",
    "kept-after-all",
    "format-not-checked",
    "resign-forgotten",
    "caps-ignored",
];

/// Whether a known fault is put back in: see [`mod@crate::mutant`].
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {{
        const _: () = assert!($crate::mutant::is_known($name), "no such mutant");
        $crate::mutant::is_on($name)
    }};
}

/// Whether a point of that name is listed.
pub const fn is_known(name: &str) -> bool {
    let mut at = 0;
    while at < NAMES.len() {
        if same(NAMES[at].as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(feature = "mutants")]
mod on {
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Puts one fault in on this thread, or none.
    pub fn put(name: Option<&'static str>) {
        ON.set(name);
    }

    /// Whether it is in.
    pub fn is_on(name: &str) -> bool {
        ON.get() == Some(name)
    }
}

#[cfg(feature = "mutants")]
pub use on::{is_on, put};

/// Never.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_on(_name: &str) -> bool {
    false
}
