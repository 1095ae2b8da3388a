//! Addresses of one subnet: finite, the lowest free one first.

use std::collections::BTreeSet;

/// The addresses in use.
#[derive(Debug, Default)]
pub(super) struct Pool {
    next: u32,
    freed: BTreeSet<u32>,
}

impl Pool {
    /// How many are in use.
    pub fn used(&self) -> u32 {
        self.next - u32::try_from(self.freed.len()).unwrap_or(u32::MAX)
    }

    /// Takes one, if fewer than `most` are in use.
    pub fn take(&mut self, most: u32) -> Option<u32> {
        if self.used() >= most {
            return None;
        }
        Some(self.freed.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        }))
    }

    /// Gives one back.
    pub fn give(&mut self, address: u32) {
        self.freed.insert(address);
    }
}

/// The `index`-th address of the default subnet of the `region`-th region, `10.128.0.2` for the first.
pub(super) fn internal(region: usize, index: u32) -> String {
    std::net::Ipv4Addr::from(block(region) + index + 2).to_string()
}

/// The first address of a region's block, which is its network's; the second is its gateway's.
fn block(region: usize) -> u32 {
    let base = (10_u32 << 24) | (128 << 16);
    base + (u32::try_from(region).unwrap_or_default() << 18)
}

/// The address of the gateway of a region's subnet.
pub(super) fn gateway(region: usize) -> String {
    std::net::Ipv4Addr::from(block(region) + 1).to_string()
}

/// The smallest block of a region's default subnet that has so many addresses besides the four that Google keeps.
pub(super) fn range(region: usize, addresses: u32) -> String {
    let bits = (addresses.saturating_add(4)).next_power_of_two().trailing_zeros();
    format!("{}/{}", std::net::Ipv4Addr::from(block(region)), 32 - bits)
}

/// The `index`-th external address, of a block that is reserved for documentation and tests (RFC 2544).
pub(super) fn external(index: u32) -> String {
    std::net::Ipv4Addr::from(((198_u32 << 24) | (18 << 16)) + index).to_string()
}
