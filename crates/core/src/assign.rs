//! Which replica looks after which shard: rendezvous hashing, so that a replica that comes or goes moves only
//! its own shards, and every replica with the same view computes the same.

use std::collections::BTreeMap;

use crate::{
    ids::{ReplicaId, Shard},
    ports::Member,
};

/// Assigns every shard to one of the members; nothing if there is no member. Members in a zone of the shard's
/// region are preferred: the way to Google is shorter, and they share the region's fate anyway.
pub fn assign<'a>(
    shards: impl IntoIterator<Item = &'a Shard>,
    members: &'a BTreeMap<ReplicaId, Member>,
) -> BTreeMap<&'a Shard, &'a ReplicaId> {
    let best = |shard: &Shard| {
        members
            .values()
            .max_by_key(|member| (is_near(member, shard), weight(member, shard), &member.replica))
    };
    shards
        .into_iter()
        .filter_map(|shard| Some((shard, &best(shard)?.replica)))
        .collect()
}

fn is_near(member: &Member, shard: &Shard) -> bool {
    member
        .zone
        .rsplit_once('-')
        .is_some_and(|(region, _)| region == shard.region.as_str())
}

// FNV-1a with a last mix: all replicas of a stack, whatever their version, must compute the same.
fn weight(member: &Member, shard: &Shard) -> u64 {
    let parts = [
        member.replica.as_str(),
        shard.project.as_str(),
        shard.region.as_str(),
    ];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, zone: &str) -> (ReplicaId, Member) {
        let member = Member {
            replica: name.into(),
            zone: zone.into(),
            address: String::new(),
            version: String::new(),
            config: String::new(),
        };
        (name.into(), member)
    }

    fn shards() -> Vec<Shard> {
        (0..300)
            .map(|n| Shard {
                project: "p".into(),
                region: format!("region-{n}").as_str().into(),
            })
            .collect()
    }

    #[test]
    fn a_replica_that_goes_moves_only_its_own_shards() {
        let shards = shards();
        let mut members: BTreeMap<_, _> = ["a", "b", "c"].into_iter().map(|name| member(name, "")).collect();
        let before: BTreeMap<Shard, ReplicaId> = assign(&shards, &members)
            .into_iter()
            .map(|(shard, owner)| (shard.clone(), owner.clone()))
            .collect();
        members.remove(&"b".into());
        for (shard, owner) in assign(&shards, &members) {
            assert!(before[shard] == *owner || before[shard] == "b".into());
        }
        for name in ["a", "b", "c"] {
            let count = before.values().filter(|owner| owner.as_str() == name).count();
            assert!((60..140).contains(&count), "{name} has {count} of 300");
        }
    }

    #[test]
    fn a_replica_in_the_region_is_preferred() {
        let members: BTreeMap<_, _> = [member("a", "region-7-b"), member("b", "x-y-c")].into();
        let shards = shards();
        assert_eq!(assign(&shards, &members)[&shards[7]].as_str(), "a");
    }

    #[test]
    fn without_members_nothing_is_assigned() {
        assert!(assign(&shards(), &BTreeMap::new()).is_empty());
    }
}
