//! Jobs and machines as operators see them: their records, with what is not recorded.

use std::collections::BTreeMap;

use gust_core::{
    evolve,
    ids::{JobRef, MachineName},
    ports::JobState,
    reason::Reason,
    records::{BatchRecord, JobRecord, MachineRecord, Member, Place},
};

use super::super::state::Leader;

/// A job that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct JobInfo {
    /// Its record.
    pub record: JobRecord,
    /// Why it waits, as of the last pass.
    pub reason: Option<Reason>,
    /// Its state in Buildkite, as last read by this leader.
    pub state: Option<JobState>,
    /// Machines made for it so far.
    pub attempts: u32,
}

/// A machine that exists or is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineInfo {
    /// Its record; of one that is asked for, what the record will be.
    pub record: MachineRecord,
    /// It is asked for, and not yet known to exist.
    pub creating: bool,
}

/// The reasons of the last pass, by job.
pub(super) type Reasons<'a> = BTreeMap<&'a JobRef, &'a Reason>;

/// Whether machines of a batch may come to a place. Google chooses among the zones and types it was given, so of one that
/// is asked for this is all that is known.
pub(super) fn may_come(batch: &BatchRecord, place: &Place) -> bool {
    match place {
        Place::Shard(shard) => batch.shard() == *shard,
        Place::Zone(zone) => batch.zones().contains(zone),
        Place::Family { family, zone } => {
            let alternatives = batch.shape.alternatives.iter();
            let mut families = alternatives
                .map(|other| &other.family)
                .chain([&batch.shape.family]);
            families.any(|theirs| theirs == family)
                && zone.as_ref().is_none_or(|zone| batch.zones().contains(zone))
        }
    }
}

impl Leader {
    /// What is asked for and not yet known to exist: each machine, with its batch.
    pub(super) fn creating(&self) -> impl Iterator<Item = (&BatchRecord, &Member)> {
        let known = self.book.machines();
        let batches = self.book.batches().values();
        batches
            .flat_map(|batch| batch.members.iter().map(move |member| (batch, member)))
            .filter(|(_, member)| !known.contains_key(&member.name))
    }

    pub(super) fn reasons(&self) -> Reasons<'_> {
        self.shown
            .waiting
            .iter()
            .map(|(job, reason)| (job, reason))
            .collect()
    }

    pub(super) fn job_info(&self, record: &JobRecord, reasons: &Reasons<'_>) -> JobInfo {
        let known = self.known.get(&record.job);
        JobInfo {
            reason: reasons.get(&record.job).map(|reason| (*reason).clone()),
            state: known.and_then(|known| known.seen.state.as_ref().map(|(state, _)| state.clone())),
            attempts: self.book.last_attempt(record),
            record: record.clone(),
        }
    }

    pub(super) fn machine_info(&self, name: &MachineName) -> Option<MachineInfo> {
        match self.book.machines().get(name) {
            Some(record) => Some(MachineInfo {
                record: record.clone(),
                creating: false,
            }),
            None => {
                let batch = self.book.batch_of(name)?;
                Some(MachineInfo {
                    record: evolve::from_batch(&self.book, name, batch.created_at)?,
                    creating: true,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gust_core::records::{BatchRecord, Place};

    use super::may_come;

    // Two zones and two families, of which Google chooses.
    const BATCH: &str = r#"{
        "id": "4abc90b3-584f-56e0-96fc-cab1fad74f62", "term": 3, "created_at": 0, "call": "bulk",
        "shape": {
            "project": "ci", "region": "r1", "zones": ["r1-a", "r1-b"], "machine_type": "n2d-standard-2", "family": "n2d",
            "alternatives": [{ "machine_type": "e2-standard-2", "family": "e2", "memory_mib": 8192, "price": 6 }],
            "cpus": 2, "memory_mib": 8192, "arch": "amd64", "model": "standard",
            "boot_disk": { "disk_type": "pd-balanced", "gib": 50, "image": "image" }, "local_ssds": 0,
            "network": { "network": "global/networks/default", "subnetwork": null, "external_address": false },
            "service_account": "ci@ci.iam", "labels": {}, "metadata": {}, "max_run_seconds": 3600
        },
        "request_key": "small", "price": 5, "members": []
    }"#;

    #[test]
    fn what_is_being_created_counts_wherever_google_may_put_it() {
        let batch: BatchRecord = serde_json::from_str(BATCH).expect("a batch");
        let shard = |region: &str| {
            Place::Shard(gust_core::ids::Shard {
                project: "ci".into(),
                region: region.into(),
            })
        };
        let family = |family: &str, zone: Option<&str>| Place::Family {
            family: family.to_owned(),
            zone: zone.map(Into::into),
        };
        let mut one_zone = batch.clone();
        one_zone.call = gust_core::records::Call::Insert { zone: "r1-b".into() };
        for (place, of_bulk, of_insert) in [
            (shard("r1"), true, true),
            (shard("r2"), false, false),
            (Place::Zone("r1-a".into()), true, false),
            (Place::Zone("r1-b".into()), true, true),
            (Place::Zone("r1-c".into()), false, false),
            (family("n2d", None), true, true),
            (family("e2", Some("r1-b")), true, true),
            (family("e2", Some("r1-a")), true, false),
            (family("c3", None), false, false),
        ] {
            let found = (may_come(&batch, &place), may_come(&one_zone, &place));
            assert_eq!(found, (of_bulk, of_insert), "{place}");
        }
    }
}
