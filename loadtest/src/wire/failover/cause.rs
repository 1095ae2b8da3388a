//! In which ways a leader is lost.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use strum::{EnumIter, IntoStaticStr};
use tokio::time::{Instant, sleep};

use super::super::{fleet::Fleet, network::Party, raft::Raft};

/// Why a leader, or a member of etcd, is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, IntoStaticStr, clap::ValueEnum)]
#[strum(serialize_all = "kebab-case")]
pub enum Cause {
    /// The replica's process is killed; its supervisor lives.
    Process,
    /// The replica and its supervisor are killed.
    Host,
    /// The replica and its supervisor are frozen.
    Frozen,
    /// A member of etcd is killed, in turn the one that leads the others and another one.
    Member,
    /// The replica and the member of etcd that leads the others are cut off from all other zones.
    Zone,
    /// The replica is asked to end.
    HandOver,
}

/// Longest wait for a successor.
const SUCCESSOR: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

impl Cause {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Seconds that a gap may take, with leases of 5 s and elections of etcd of up to 2 s: see DESIGN.md, "Budgets".
    pub fn goal(self) -> f64 {
        match self {
            Self::Process => 1.0,
            Self::Host | Self::Frozen => 6.0,
            Self::Member => 2.0,
            Self::Zone => 12.0,
            Self::HandOver => 0.05,
        }
    }

    /// Loses the leader. Nothing is mended before [`Cause::mend`].
    pub(super) async fn strike(
        self,
        round: usize,
        leader: usize,
        fleet: &mut Fleet,
        raft: &Raft,
    ) -> Result<()> {
        match self {
            Self::Process => fleet.kill_child(leader).await,
            Self::Host => fleet.kill_both(leader).await,
            Self::Frozen => fleet.signal_both(leader, Signal::STOP),
            Self::HandOver => fleet.stop(leader).await,
            Self::Zone => {
                let zone = [Party::Replica(leader), Party::Member(leader)];
                fleet.network.cut_off(&zone, &fleet.parties());
                Ok(())
            }
            Self::Member => {
                let leads = raft
                    .leader()
                    .await
                    .context("no member of etcd leads the others")?;
                let all = fleet.parties().len() - fleet.count();
                let struck = if round.is_multiple_of(2) {
                    leads
                } else {
                    (leads + 1) % all
                };
                fleet.kill_member(struck);
                Ok(())
            }
        }
    }

    /// Brings back what was lost.
    pub(super) fn mend(self, leader: usize, fleet: &mut Fleet) -> Result<()> {
        match self {
            Self::Frozen => fleet.signal_both(leader, Signal::CONT)?,
            Self::Zone => fleet.network.heal(),
            Self::Member => fleet.restart_members(),
            Self::Process | Self::Host | Self::HandOver => {}
        }
        for nth in 0..fleet.count() {
            if !fleet.check(nth)? {
                fleet.restart(nth)?;
            }
        }
        Ok(())
    }
}

/// Waits for a leader of a term not before `first`, and tells which replica it is and its term.
///
/// # Errors
/// There is none within a minute.
pub(super) async fn lead(fleet: &Fleet, first: u64) -> Result<(usize, u64)> {
    let deadline = Instant::now() + SUCCESSOR;
    loop {
        // Without a quorum etcd does not answer, and one of its members may be dead; it will again.
        if let Ok(Some(lead)) = fleet.lead().await
            && lead.1 >= first
        {
            return Ok(lead);
        }
        ensure!(
            Instant::now() < deadline,
            "nobody leads in term {first} or later within a minute"
        );
        sleep(LOOK).await;
    }
}
