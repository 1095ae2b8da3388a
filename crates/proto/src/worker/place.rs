//! Where things are, and which job is meant.

use gust_core::ids::{JobId, JobRef, ProjectId, Region, Shard, SourceName, Zone};

use crate::{
    check::{Malformed, text, texts, uuid},
    v1,
};

impl From<&Shard> for v1::Shard {
    fn from(shard: &Shard) -> Self {
        Self {
            project: shard.project.to_string(),
            region: shard.region.to_string(),
        }
    }
}

impl TryFrom<v1::Shard> for Shard {
    type Error = Malformed;

    fn try_from(shard: v1::Shard) -> Result<Self, Malformed> {
        Ok(Self {
            project: ProjectId::new(text("project", shard.project)?),
            region: Region::new(text("region", shard.region)?),
        })
    }
}

/// A shard and its zones, as a hello lists them.
pub(super) fn shard_zones(value: v1::ShardZones) -> Result<(Shard, Vec<Zone>), Malformed> {
    Ok((
        crate::check::message("shard", value.shard)?,
        texts("zones", value.zones, Zone::new)?,
    ))
}

impl From<&JobRef> for v1::JobRef {
    fn from(job: &JobRef) -> Self {
        Self {
            source: job.source.to_string(),
            id: job.id.to_string(),
        }
    }
}

impl TryFrom<v1::JobRef> for JobRef {
    type Error = Malformed;

    fn try_from(job: v1::JobRef) -> Result<Self, Malformed> {
        Ok(Self {
            source: SourceName::new(text("source", job.source)?),
            id: JobId(uuid("id", &job.id)?),
        })
    }
}
