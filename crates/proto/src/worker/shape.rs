//! The shape of machines.

use gust_core::{
    ids::{MachineTypeName, Shard, Zone},
    shape::{Accelerators, Alternative, Arch, BootDisk, Network, Price, ProvisioningModel, Shape},
};

use crate::{
    check::{Malformed, Problem, list, message, optional_text, text, texts},
    v1,
};

impl From<Arch> for v1::Arch {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::Amd64 => Self::Amd64,
            Arch::Arm64 => Self::Arm64,
        }
    }
}

fn arch(field: &str, number: i32) -> Result<Arch, Malformed> {
    match v1::Arch::try_from(number) {
        Ok(v1::Arch::Amd64) => Ok(Arch::Amd64),
        Ok(v1::Arch::Arm64) => Ok(Arch::Arm64),
        Ok(v1::Arch::Unspecified) => Err(Malformed::at(field, Problem::Missing)),
        Err(_) => Err(Malformed::at(field, Problem::UnknownEnum(number))),
    }
}

impl From<ProvisioningModel> for v1::ProvisioningModel {
    fn from(model: ProvisioningModel) -> Self {
        match model {
            ProvisioningModel::Standard => Self::Standard,
            ProvisioningModel::Spot => Self::Spot,
        }
    }
}

fn model(field: &str, number: i32) -> Result<ProvisioningModel, Malformed> {
    match v1::ProvisioningModel::try_from(number) {
        Ok(v1::ProvisioningModel::Standard) => Ok(ProvisioningModel::Standard),
        Ok(v1::ProvisioningModel::Spot) => Ok(ProvisioningModel::Spot),
        Ok(v1::ProvisioningModel::Unspecified) => Err(Malformed::at(field, Problem::Missing)),
        Err(_) => Err(Malformed::at(field, Problem::UnknownEnum(number))),
    }
}

impl From<&BootDisk> for v1::BootDisk {
    fn from(disk: &BootDisk) -> Self {
        Self {
            disk_type: disk.disk_type.clone(),
            gib: disk.gib,
            image: disk.image.clone(),
        }
    }
}

impl TryFrom<v1::BootDisk> for BootDisk {
    type Error = Malformed;

    fn try_from(disk: v1::BootDisk) -> Result<Self, Malformed> {
        Ok(Self {
            disk_type: text("disk_type", disk.disk_type)?,
            gib: disk.gib,
            image: text("image", disk.image)?,
        })
    }
}

impl From<&Accelerators> for v1::Accelerators {
    fn from(gpus: &Accelerators) -> Self {
        Self {
            kind: gpus.kind.clone(),
            count: gpus.count,
            attach: gpus.attach,
        }
    }
}

impl TryFrom<v1::Accelerators> for Accelerators {
    type Error = Malformed;

    fn try_from(gpus: v1::Accelerators) -> Result<Self, Malformed> {
        Ok(Self {
            kind: text("kind", gpus.kind)?,
            count: gpus.count,
            attach: gpus.attach,
        })
    }
}

impl From<&Network> for v1::Network {
    fn from(network: &Network) -> Self {
        Self {
            network: network.network.clone(),
            subnetwork: network.subnetwork.clone(),
            external_address: network.external_address,
        }
    }
}

impl TryFrom<v1::Network> for Network {
    type Error = Malformed;

    fn try_from(network: v1::Network) -> Result<Self, Malformed> {
        Ok(Self {
            network: text("network", network.network)?,
            subnetwork: optional_text("subnetwork", network.subnetwork)?,
            external_address: network.external_address,
        })
    }
}

impl From<&Alternative> for v1::Alternative {
    fn from(alternative: &Alternative) -> Self {
        Self {
            machine_type: alternative.machine_type.to_string(),
            family: alternative.family.clone(),
            memory_mib: alternative.memory_mib,
            price_micro_usd_per_hour: alternative.price.0,
        }
    }
}

impl TryFrom<v1::Alternative> for Alternative {
    type Error = Malformed;

    fn try_from(alternative: v1::Alternative) -> Result<Self, Malformed> {
        Ok(Self {
            machine_type: MachineTypeName::new(text("machine_type", alternative.machine_type)?),
            family: text("family", alternative.family)?,
            memory_mib: alternative.memory_mib,
            price: Price(alternative.price_micro_usd_per_hour),
        })
    }
}

impl From<&Shape> for v1::Shape {
    fn from(shape: &Shape) -> Self {
        Self {
            shard: Some((&shape.shard()).into()),
            zones: shape.zones.iter().map(Zone::to_string).collect(),
            machine_type: shape.machine_type.to_string(),
            family: shape.family.clone(),
            cpus: shape.cpus,
            memory_mib: shape.memory_mib,
            arch: v1::Arch::from(shape.arch).into(),
            model: v1::ProvisioningModel::from(shape.model).into(),
            boot_disk: Some((&shape.boot_disk).into()),
            local_ssds: shape.local_ssds,
            network: Some((&shape.network).into()),
            service_account: shape.service_account.clone(),
            labels: shape.labels.clone(),
            metadata: shape.metadata.clone(),
            max_run_seconds: shape.max_run_seconds,
            gpus: shape.gpus.as_ref().map(Into::into),
            alternatives: shape.alternatives.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Shape> for Shape {
    type Error = Malformed;

    fn try_from(shape: v1::Shape) -> Result<Self, Malformed> {
        let Shard { project, region } = message("shard", shape.shard)?;
        let zones = texts("zones", shape.zones, Zone::new)?;
        if zones.is_empty() {
            return Err(Malformed::at("zones", Problem::Missing));
        }
        Ok(Self {
            project,
            region,
            zones,
            machine_type: MachineTypeName::new(text("machine_type", shape.machine_type)?),
            family: text("family", shape.family)?,
            cpus: shape.cpus,
            memory_mib: shape.memory_mib,
            arch: arch("arch", shape.arch)?,
            model: model("model", shape.model)?,
            boot_disk: message("boot_disk", shape.boot_disk)?,
            local_ssds: shape.local_ssds,
            network: message("network", shape.network)?,
            service_account: text("service_account", shape.service_account)?,
            labels: shape.labels,
            metadata: shape.metadata,
            max_run_seconds: shape.max_run_seconds,
            gpus: shape.gpus.map(TryInto::try_into).transpose()?,
            alternatives: list("alternatives", shape.alternatives, Alternative::try_from)?,
        })
    }
}
