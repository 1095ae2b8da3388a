//! Unit prices, exact: billionths of a US dollar, since a GiB-hour costs fractions of a millionth.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// Hours in a month, as Google prorates monthly prices.
pub(crate) const HOURS_PER_MONTH: u64 = 730;

/// A unit price in billionths of a US dollar. Data files write it as text (`"0.003686"`), so that no
/// binary fraction comes between the source and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(pub u64);

/// Why a text is no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("price `{0}` is not dollars with at most nine decimals, such as \"0.003686\"")]
pub struct BadPrice(String);

impl NanoUsd {
    /// The price plus so many per cent, rounded to the nearest billionth.
    #[must_use]
    pub(crate) fn plus_percent(self, percent: u32) -> Self {
        Self((self.0 * (100 + u64::from(percent)) + 50) / 100)
    }
}

impl FromStr for NanoUsd {
    type Err = BadPrice;

    fn from_str(text: &str) -> Result<Self, BadPrice> {
        let bad = || BadPrice(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 6 || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
            return Err(bad());
        }
        let nanos: u64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
        let dollars: u64 = whole.parse().map_err(|_| bad())?;
        Ok(Self(dollars * 1_000_000_000 + nanos))
    }
}

impl<'de> Deserialize<'de> for NanoUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Prices of one kind of machine, each per hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Per vCPU and hour.
    pub vcpu: NanoUsd,
    /// Per GiB of memory and hour.
    pub gib: NanoUsd,
}

impl Rate {
    /// Both prices plus so many per cent.
    #[must_use]
    pub(crate) fn plus_percent(self, percent: u32) -> Self {
        Self {
            vcpu: self.vcpu.plus_percent(percent),
            gib: self.gib.plus_percent(percent),
        }
    }

    /// Price of so much machine, in billionths of a dollar per hour.
    pub fn of(self, cpus: u32, memory_mib: u64) -> u64 {
        // An override may hold any price: one that is too large for words is as dear as can be.
        let memory = self.gib.0.saturating_mul(memory_mib) / 1024;
        self.vcpu.0.saturating_mul(u64::from(cpus)).saturating_add(memory)
    }
}

/// A price on demand and the price on Spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnDemandAndSpot {
    /// On demand.
    pub on_demand: NanoUsd,
    /// On Spot.
    pub spot: NanoUsd,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_exactly() {
        assert_eq!("0.003753348".parse(), Ok(NanoUsd(3_753_348)));
        assert_eq!("12".parse(), Ok(NanoUsd(12_000_000_000)));
        for bad in ["", ".5", "1e-3", "-1", "0.0000000001", "1,5", "1.2.3"] {
            assert!(bad.parse::<NanoUsd>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_premium_rounds_to_the_nearest_billionth() {
        assert_eq!(NanoUsd(1_067_000).plus_percent(5), NanoUsd(1_120_350));
        assert_eq!(NanoUsd(3).plus_percent(20), NanoUsd(4));
    }
}
