//! An offer before it is written out, and what it costs an hour.

use super::placement::{Group, Placement};
use super::prepaid::Paid;
use super::size::{Size, SizeGpus, most_memory, name_of};
use crate::catalog::{Catalog, Disk, DiskType, Family, HOURS_PER_MONTH, PriceList};
use crate::ids::{MachineTypeName, Region};
use crate::request::{Cpus, Gib};
use crate::shape::{Price, ProvisioningModel};

/// An offer before it is written out.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub family: &'a Family,
    pub size: Size<'a>,
    pub model: ProvisioningModel,
    pub second_choice: bool,
    pub disk_type: &'a DiskType,
    pub disk: Gib,
    pub group: &'a Group,
    pub paid: Paid,
    pub nano_per_hour: u64,
    /// See [`is_borrowed`].
    pub borrowed: bool,
}

impl<'a> Candidate<'a> {
    pub fn cpus(&self) -> Cpus {
        Cpus(self.size.cpus)
    }

    /// The most memory to be had with its family and vCPUs, in MiB.
    pub fn most_memory(&self) -> u64 {
        most_memory(self.family, self.size.cpus)
    }

    pub fn price(&self) -> Price {
        Price((self.nano_per_hour + 500) / 1000)
    }

    pub fn disk_type(&self) -> &DiskType {
        self.disk_type
    }

    pub fn model(&self) -> ProvisioningModel {
        self.model
    }

    pub fn machine_type(&self) -> MachineTypeName {
        name_of(self.family, &self.size)
    }

    /// The same machine where it is paid for already. It is never second choice: who would rather have Spot for its price
    /// gets a machine that costs less and stays.
    pub fn paid(&self, paid: Paid) -> Option<Self> {
        let size = &self.size;
        let attached = size.ssds.attach > 0 || matches!(size.gpus, SizeGpus::Attached(..));
        if self.model != ProvisioningModel::Standard || (paid == Paid::Reserved && attached) {
            return None;
        }
        let (_, prices) = self.family.prices(&self.group.region);
        let whole = size.predefined.and_then(|p| prices.whole(&p.name, self.model));
        let rate = |custom| prices.rate(custom, self.model);
        let saved = match (paid, whole) {
            (Paid::Full, _) => return None,
            (Paid::Reserved, Some(whole)) => whole?.0,
            (Paid::Reserved, None) => rate(size.predefined.is_none())?.of(size.cpus, size.memory_mib),
            // The premium of custom types and extended memory are paid all the same.
            (Paid::Committed, None) => {
                let regular = self.regular_memory();
                rate(false)?.of(size.cpus, size.memory_mib.min(regular))
            }
            (Paid::Committed, Some(_)) => return None,
        };
        Some(Self {
            paid,
            second_choice: false,
            nano_per_hour: self.nano_per_hour.saturating_sub(saved),
            ..self.clone()
        })
    }

    fn regular_memory(&self) -> u64 {
        match (self.size.predefined, &self.family.custom) {
            (None, Some(rule)) => rule.most_regular_memory(self.size.cpus),
            _ => u64::MAX,
        }
    }

    /// Ranks as [`Preference`] does, without writing names.
    pub fn rank(&self) -> impl Ord + '_ {
        let size = &self.size;
        (
            (
                self.second_choice,
                self.nano_per_hour,
                size.memory_mib,
                size.ssds.count,
                self.paid,
                self.borrowed,
            ),
            (
                size.predefined.is_none(),
                &self.family.name,
                size.cpus,
                self.disk_type,
                &self.group.region,
            ),
        )
    }
}

/// Price per hour in billionths of a dollar; `None` if it is not sold so.
#[expect(
    clippy::too_many_arguments,
    reason = "a sum of independent parts, called in one place"
)]
pub(super) fn hourly(
    catalog: &Catalog,
    placement: &Placement,
    family: &Family,
    group: &Group,
    model: ProvisioningModel,
    size: &Size<'_>,
    disk: &Disk,
    disk_gib: u64,
) -> Option<u64> {
    let (_, prices) = family.prices(&group.region);
    let whole = size.predefined.and_then(|p| prices.whole(&p.name, model));
    let machine = match whole {
        Some(price) => price?.0,
        None => parts(catalog, family, prices, model, size)?,
    };
    let gpus = match size.gpus {
        SizeGpus::Attached(kind, count) => {
            catalog.gpu(kind.as_str())?.price(&group.region, model)?.0 * u64::from(count)
        }
        SizeGpus::None | SizeGpus::Bundled(_) => 0,
    };
    let disk = disk.price(&group.region).1.0 * disk_gib / HOURS_PER_MONTH;
    let address = if placement.external_address {
        catalog.address_price(model).0
    } else {
        0
    };
    Some(machine + gpus + disk + address)
}

/// Whether a part of [`hourly`] is the price of another region, for want of one of its own.
pub(super) fn is_borrowed(
    catalog: &Catalog,
    family: &Family,
    region: &Region,
    size: &Size<'_>,
    disk: &Disk,
) -> bool {
    let gpu = match size.gpus {
        SizeGpus::Attached(kind, _) => catalog.gpu(kind.as_str()),
        SizeGpus::None | SizeGpus::Bundled(_) => None,
    };
    family.prices(region).0 != region
        || disk.price(region).0 != region
        || gpu.is_some_and(|gpu| !gpu.is_priced(region))
}

/// Price per hour of a machine that is the sum of its vCPUs, memory and local SSD.
fn parts(
    catalog: &Catalog,
    family: &Family,
    prices: &PriceList,
    model: ProvisioningModel,
    size: &Size<'_>,
) -> Option<u64> {
    let rate = prices.rate(size.predefined.is_none(), model)?;
    let most = match (size.predefined, &family.custom) {
        (None, Some(rule)) => rule.most_regular_memory(size.cpus),
        _ => u64::MAX,
    };
    let extended = match size.memory_mib.saturating_sub(most) {
        0 => 0,
        mib => prices.extended(model)?.0 * mib / 1024,
    };
    let ssd = match size.ssds.count {
        0 => 0,
        count => prices.local_ssd(model)?.0 * catalog.local_ssd_gib() * u64::from(count) / HOURS_PER_MONTH,
    };
    Some(rate.of(size.cpus, size.memory_mib.min(most)) + extended + ssd)
}
