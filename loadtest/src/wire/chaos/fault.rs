//! What is done to the processes, to the network between them, and to replies.

use std::time::Duration;

use anyhow::Result;
use rand::{Rng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serde_json::{Value, json};
use strum::{EnumIter, IntoEnumIterator as _};
use tokio::time::sleep;

use super::{
    super::{control::Control, fleet::Fleet, network::Party},
    wait_for_leader,
};

/// What is done to the processes, or to replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The leader's process; its supervisor lives.
    KillLeader,
    /// The leader with its supervisor, as when a host dies.
    KillLeaderHost,
    /// Any replica.
    KillAny,
    /// The leader with its supervisor, for longer than its lease.
    FreezeLeader,
    /// The leader is asked to end.
    StopLeader,
    /// A member of etcd; only where others make a quorum.
    KillMember,
    /// The network, for a while.
    Net(Net),
    /// A reply of Google or Buildkite is lost after it took effect, or is an error.
    Reply(usize),
}

/// What is done to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub(super) enum Net {
    /// The leader is cut off from all others.
    CutLeader,
    /// Any replica is.
    CutReplica,
    /// A member of etcd is.
    CutMember,
    /// The leader with a member of etcd, as a zone.
    CutZone,
    /// The leader does not reach etcd, and the other replicas do, and it them.
    CutFromEtcd,
    /// The leader reaches etcd, and the other replicas neither reach it nor it them.
    CutFromReplicas,
    /// What the leader asks arrives at etcd; the answers do not.
    NoAnswersOfEtcd,
    /// What the leader says arrives at the other replicas, and nothing that they say.
    NoAnswersOfReplicas,
    /// A member of etcd hears the others, and they do not hear it.
    MuteMember,
    /// etcd answers every replica a second late.
    SlowEtcd,
    /// Members of etcd hear each other late.
    SlowMembers,
    /// Replicas hear each other late.
    SlowReplicas,
}

/// Draws the next one.
pub(super) fn draw(rng: &mut ChaCha8Rng, members: usize) -> Fault {
    let mut faults = vec![
        Fault::KillLeader,
        Fault::KillLeader,
        Fault::KillLeaderHost,
        Fault::KillAny,
        Fault::FreezeLeader,
        Fault::StopLeader,
        Fault::Reply(rng.random_range(0..replies().len())),
        Fault::Reply(rng.random_range(0..replies().len())),
    ];
    let nets: Vec<Net> = Net::iter().collect();
    // As often as all the others together.
    for _ in 0..faults.len() {
        faults.extend(nets.choose(rng).map(|net| Fault::Net(*net)));
    }
    if members > 2 {
        faults.extend([Fault::KillMember, Fault::KillMember]);
    }
    *faults.choose(rng).expect("there are faults")
}

/// Does it, and says what was done.
pub(super) async fn strike(
    fault: Fault,
    rng: &mut ChaCha8Rng,
    fleet: &mut Fleet,
    control: &Control,
) -> Result<String> {
    // Drawn whatever comes of it, so that a seed always draws the same.
    let (any, pause) = (rng.random_range(0..64_usize), rng.random_range(100..3_000_u64));
    // Shorter than a lease, and longer.
    let cut = Duration::from_millis(rng.random_range(500..9_000));
    let (pause, frozen) = (Duration::from_millis(pause), Duration::from_secs(7));
    if let Fault::Reply(nth) = fault {
        let reply = &replies()[nth];
        control.fault(reply).await?;
        return Ok(format!("{} {}", reply["kind"], reply["match"]["method"]));
    }
    if fault == Fault::KillMember {
        let nth = any % 3;
        fleet.kill_member(nth);
        sleep(pause).await;
        fleet.restart_member(nth);
        return Ok(format!(
            "member {nth} of etcd is killed, and back after {pause:?}"
        ));
    }
    let leader = wait_for_leader(fleet).await?;
    if let Fault::Net(net) = fault {
        apply(net, any, leader, fleet);
        sleep(cut).await;
        fleet.network.heal();
        return Ok(format!(
            "{net:?} for {cut:?}; r{leader} leads, and {any} was drawn"
        ));
    }
    Ok(match fault {
        Fault::KillLeader => {
            fleet.kill_child(leader).await?;
            sleep(pause).await;
            format!("r{leader}, which leads, is killed, and back after {pause:?}")
        }
        Fault::KillLeaderHost => {
            fleet.kill_both(leader).await?;
            sleep(pause).await;
            format!("r{leader}, which leads, is killed with its supervisor, and back after {pause:?}")
        }
        Fault::KillAny => {
            let nth = any % fleet.count();
            fleet.kill_child(nth).await?;
            format!("r{nth} is killed, and back at once")
        }
        Fault::FreezeLeader => {
            fleet.signal_both(leader, Signal::STOP)?;
            sleep(frozen).await;
            fleet.signal_both(leader, Signal::CONT)?;
            format!("r{leader}, which leads, is frozen for {frozen:?}")
        }
        Fault::StopLeader => {
            fleet.stop(leader).await?;
            format!("r{leader}, which leads, is asked to end, and back at once")
        }
        Fault::KillMember | Fault::Net(_) | Fault::Reply(_) => String::new(),
    })
}

/// Changes the network; `any` tells which one is meant where any may be.
fn apply(net: Net, any: usize, leader: usize, fleet: &Fleet) {
    let (network, all) = (&fleet.network, fleet.parties());
    let (replicas, members): (Vec<Party>, Vec<Party>) =
        all.iter().partition(|party| matches!(party, Party::Replica(_)));
    let member = members[any % members.len()];
    let leader = Party::Replica(leader);
    let others: Vec<Party> = replicas
        .iter()
        .copied()
        .filter(|other| *other != leader)
        .collect();
    let both = |these: &[Party]| {
        for &other in these {
            network.hold(leader, other);
            network.hold(other, leader);
        }
    };
    let slow = |from: &[Party], to: &[Party], by: u64| {
        for (&from, &to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            network.slow(from, to, Duration::from_millis(by));
        }
    };
    match net {
        Net::CutLeader => network.cut_off(&[leader], &all),
        Net::CutReplica => network.cut_off(&[replicas[any % replicas.len()]], &all),
        Net::CutMember => network.cut_off(&[member], &all),
        Net::CutZone => network.cut_off(&[leader, member], &all),
        Net::CutFromEtcd => both(&members),
        Net::CutFromReplicas => both(&others),
        Net::NoAnswersOfEtcd => members.iter().for_each(|other| network.hold(*other, leader)),
        Net::NoAnswersOfReplicas => others.iter().for_each(|other| network.hold(*other, leader)),
        Net::MuteMember => all.iter().for_each(|other| network.hold(member, *other)),
        Net::SlowEtcd => slow(&members, &replicas, 1_000),
        Net::SlowMembers => slow(&members, &members, 300),
        Net::SlowReplicas => slow(&replicas, &replicas, 1_500),
    }
}

fn replies() -> Vec<Value> {
    let fault = |kind: &str, host: &str, method: &str, more: Value| {
        let mut aim = json!({"host": host, "method": method});
        if let (Value::Object(aim), Value::Object(more)) = (&mut aim, more) {
            aim.extend(more);
        }
        json!({"kind": kind, "match": aim, "count": 1})
    };
    vec![
        fault(
            "reply.lost",
            "gce",
            "compute.regionInstances.bulkInsert",
            json!({}),
        ),
        fault("reply.lost", "gce", "compute.instances.insert", json!({})),
        fault("reply.lost", "gce", "compute.instances.delete", json!({})),
        fault("reply.lost", "buildkite", "stacks.reserve", json!({})),
        fault("reply.lost", "buildkite", "stacks.finish", json!({})),
        fault("reply.lost", "buildkite", "stacks.acquisition-tokens", json!({})),
        fault(
            "reply.delay",
            "gce",
            "compute.regionInstances.bulkInsert",
            json!({"delay_s": 3}),
        ),
        fault(
            "reply.status",
            "buildkite",
            "stacks.get-states",
            json!({"status": 500}),
        ),
        fault("reply.html", "gce", "compute.instances.list", json!({})),
    ]
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_again() {
        let drawn = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..20).map(|_| draw(&mut rng, 3)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }
}
