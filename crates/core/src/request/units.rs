//! Sizes as types, so that MiB are never added to GiB.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of vCPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(pub u32);

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An amount of memory in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mib(pub u64);

impl Mib {
    /// So many GiB.
    pub const fn gib(gib: u64) -> Self {
        Self(gib * 1024)
    }
}

impl fmt::Display for Mib {
    /// As a tag's value: whole GiB bare (`64`), anything else in MiB (`1843Mi`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1024) {
            (self.0 / 1024).fmt(f)
        } else {
            write!(f, "{}Mi", self.0)
        }
    }
}

/// An amount of disk in GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gib(pub u64);

impl fmt::Display for Gib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From one value to another, both included; without an end it is open upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range<T> {
    /// The least.
    pub min: T,
    /// The most; `None` for no end.
    pub max: Option<T>,
}

impl<T: Copy + Ord> Range<T> {
    /// Exactly this value.
    pub const fn exactly(value: T) -> Self {
        Self {
            min: value,
            max: Some(value),
        }
    }

    /// This value or any larger one.
    pub const fn at_least(value: T) -> Self {
        Self {
            min: value,
            max: None,
        }
    }

    /// Whether a value lies within.
    pub fn contains(&self, value: T) -> bool {
        value >= self.min && self.max.is_none_or(|max| value <= max)
    }
}

impl<T: fmt::Display + PartialEq> Range<T> {
    /// As a tag whose bare value means exactly that: `8`, `8+16`, `8+`.
    pub(super) fn exact_form(&self) -> String {
        match &self.max {
            Some(max) if *max == self.min => self.min.to_string(),
            Some(max) => format!("{}+{max}", self.min),
            None => format!("{}+", self.min),
        }
    }

    /// As a tag whose bare value means that or more: `64`, `64+128`.
    pub(super) fn minimum_form(&self) -> String {
        match &self.max {
            Some(max) => format!("{}+{max}", self.min),
            None => self.min.to_string(),
        }
    }
}
