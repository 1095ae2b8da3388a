//! The candidate: campaigns for as long as it lives, and leads while it is elected.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gust_core::{
    ids::Term,
    ports::{Candidacy, Lease, Member, Revision, Roster, StoreError},
};
use tokio::{sync::Notify, time::timeout};
use tracing::{error, info, warn};

use super::{Held, Leadership, Replica, held, notice::Notice, stand_by};
use crate::{
    leader::{self, End},
    task::{Backoff, Tasks},
};

/// How long who cannot read the records leaves leading to others.
const ABSTAIN: Duration = Duration::from_secs(30);

/// True if more of the replicas that live have one other configuration than have this one's. A single replica with a
/// mistake in its file must not lead; while a change is rolled out the new ones may as soon as they are half.
fn outvoted(roster: &Roster, me: &Member) -> bool {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    let others = roster
        .members
        .values()
        .filter(|member| member.replica != me.replica);
    for member in others.chain([me]) {
        *votes.entry(&member.config).or_default() += 1;
    }
    let ours = votes.remove(&*me.config).unwrap_or(0);
    votes.values().any(|theirs| *theirs > ours)
}

/// Whoever leads is no member any more: it is about to hand over, or its leases lapse one by one.
fn is_leaving(roster: &Roster) -> bool {
    let leader = roster.leader.as_ref();
    leader.is_some_and(|(leader, _)| !roster.members.contains_key(leader))
}

impl Replica {
    /// Campaigns and leads until it is asked to stop, or cannot go on.
    pub(super) async fn campaign(&self, tasks: &Tasks) -> End {
        let stop = tasks.cancelled();
        let mut backoff = self.backoff();
        loop {
            let (lease, held) = tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                granted = held::grant(self.store(), &self.parts.clock, self.timing, &mut backoff) => granted,
            };
            self.leases.add(lease.id);
            let own = tasks.child();
            let (keeper, store) = (held.clone(), self.parts.store.clone());
            own.spawn("lead-lease", async move { keeper.keep(&*store, lease.id).await });
            let end = tokio::select! {
                biased;
                () = stop.cancelled() => End::Stopped,
                () = held.lapsed() => End::Lapsed,
                end = self.stand(lease, &held, &own, &mut backoff) => end,
            };
            // The order matters: first nothing is decided or begun any more, then leadership is given up.
            own.stop().await;
            held.give_up();
            self.tell(Leadership::Unknown);
            if !gust_core::mutant!("resign-forgotten") {
                self.give_back(lease).await;
            }
            self.leases.remove(lease.id);
            let said = crate::error_chain(&end);
            let wait = match end {
                End::Stopped => return End::Stopped,
                End::Deposed(_) | End::Lapsed => {
                    info!(end = said, "no longer leading");
                    backoff.step()
                }
                End::Load(_) => {
                    error!(end = said, "cannot lead");
                    backoff.step()
                }
                End::TooNew(_) => {
                    error!(
                        end = said,
                        "cannot lead; this replica works for others until it is upgraded"
                    );
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return End::Stopped,
                        () = self.abstain() => {}
                    }
                    Duration::ZERO
                }
                End::Damaged(_) => {
                    error!(end = said, "cannot lead");
                    return end;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    // Stands for election on one lease until it was elected and its leadership has ended.
    async fn stand(&self, lease: Lease, held: &Held, tasks: &Tasks, backoff: &mut Backoff) -> End {
        let mut said = false;
        let mut notice = Notice::default();
        let (standing, leaving) = (tasks.child(), Arc::new(Notify::new()));
        let follower = stand_by::StandBy {
            store: self.parts.store.clone(),
            planner: self.parts.planner.clone(),
            dice: self.parts.dice.clone(),
            format: self.parts.format,
            leaving: Arc::clone(&leaving),
        };
        standing.spawn("stand-by", follower.stay());
        loop {
            let roster = timeout(self.timing.call, self.store().roster()).await;
            let roster = roster.ok().and_then(Result::ok);
            for line in roster.iter().flat_map(|roster| notice.look(roster, &self.me)) {
                warn!("{line}");
            }
            if let Some(roster) = roster
                && outvoted(&roster, &self.me)
            {
                if !std::mem::replace(&mut said, true) {
                    warn!(
                        config = self.me.config,
                        "most replicas have another configuration: this one cannot lead"
                    );
                }
                let led = roster.leader.as_ref().map(|(_, term)| *term);
                let other = roster
                    .leader
                    .map(|(leader, term)| Leadership::Following { leader, term });
                self.tell(other.unwrap_or_default());
                self.vacancy(roster.revision, led, &leaving).await;
                continue;
            }
            match self.try_once(lease).await {
                Ok(Candidacy::Elected(term)) => {
                    *backoff = self.backoff();
                    metrics::counter!("gust_elections_won_total").increment(1);
                    self.tell(Leadership::Leading { term });
                    standing.stop().await;
                    return leader::lead(self.leader_parts(held), term, &self.handle, tasks).await;
                }
                Ok(Candidacy::Held { leader, term }) => {
                    *backoff = self.backoff();
                    self.tell(Leadership::Following { leader, term });
                    self.vacancy(Revision(term.0), Some(term), &leaving).await;
                }
                Err(error) => {
                    warn!(error = crate::error_chain(&error), "cannot campaign; tried again");
                    tokio::time::sleep(backoff.step()).await;
                }
            }
        }
    }

    async fn try_once(&self, lease: Lease) -> Result<Candidacy, StoreError> {
        let campaign = self.store().campaign(lease.id, &self.me.replica);
        timeout(self.timing.call * 2, campaign).await.unwrap_or_else(|_| {
            Err(StoreError {
                act: "campaigning",
                hint: "the store did not answer in time".to_owned(),
                source: None,
            })
        })
    }

    // Until the one that led then leads no more. A watch that stays silent is not trusted for long.
    async fn vacancy(&self, seen: Revision, led: Option<Term>, leaving: &Notify) {
        let look = tokio::time::Instant::now() + self.timing.trusted();
        let mut since = seen;
        while let Ok(Ok(())) = tokio::time::timeout_at(look, self.store().roster_changed(since)).await {
            match timeout(self.timing.call, self.store().roster()).await {
                // Another one may have been elected before we looked: then that is the one to follow.
                Ok(Ok(roster)) if roster.leader.as_ref().is_none_or(|(_, term)| Some(*term) != led) => return,
                Ok(Ok(roster)) => {
                    since = roster.revision;
                    if is_leaving(&roster) {
                        leaving.notify_one();
                    }
                }
                Ok(Err(_)) | Err(_) => break,
            }
        }
        tokio::time::sleep_until(look).await;
    }

    /// Leaves leading to others for a while, and follows whoever does: what reaches this replica is still passed on.
    async fn abstain(&self) {
        let end = tokio::time::Instant::now() + ABSTAIN;
        while tokio::time::Instant::now() < end {
            if let Ok(Ok(roster)) = timeout(self.timing.call, self.store().roster()).await {
                let leader = roster.leader;
                self.tell(
                    leader.map_or(Leadership::Unknown, |(leader, term)| Leadership::Following {
                        leader,
                        term,
                    }),
                );
            }
            tokio::time::sleep(self.timing.look).await;
        }
    }

    fn leader_parts(&self, held: &Held) -> leader::Leading {
        leader::Leading {
            parts: self.parts.clone(),
            links: self.links.clone(),
            held: held.clone(),
            timing: self.timing,
            config: self.me.config.clone(),
        }
    }

    async fn give_back(&self, lease: Lease) {
        // If this fails the lease lapses by itself.
        if !matches!(
            timeout(self.timing.call, self.store().revoke(lease.id)).await,
            Ok(Ok(()))
        ) {
            warn!(lease = lease.id.0, "a lease could not be given back; it lapses");
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(
            Duration::from_millis(100),
            Duration::from_millis(500),
            &self.parts.dice,
        )
    }
}

#[cfg(test)]
mod tests {
    use gust_core::ids::ReplicaId;

    use super::*;

    fn member(replica: &str, config: &str) -> Member {
        Member {
            replica: ReplicaId::new(replica),
            zone: String::new(),
            address: String::new(),
            version: "1".to_owned(),
            config: config.to_owned(),
        }
    }

    #[test]
    fn who_has_another_configuration_than_most_cannot_lead() {
        let me = member("a", "new");
        let among = |others: &[&str]| {
            let others = others.iter().enumerate();
            let members = others.map(|(nth, config)| member(&format!("r{nth}"), config));
            let roster = Roster {
                members: members.map(|member| (member.replica.clone(), member)).collect(),
                ..Roster::default()
            };
            outvoted(&roster, &me)
        };
        assert!(!among(&[]), "alone");
        assert!(!among(&["old"]), "half");
        assert!(among(&["old", "old"]));
        assert!(!among(&["old", "new"]));
        assert!(!among(&["old", "older"]), "nobody has more");
        assert!(among(&["old", "old", "old", "new"]));
    }

    #[test]
    fn what_an_earlier_life_of_this_replica_said_does_not_count() {
        let roster = Roster {
            members: [member("a", "old"), member("b", "new")]
                .map(|member| (member.replica.clone(), member))
                .into(),
            ..Roster::default()
        };
        assert!(!outvoted(&roster, &member("a", "new")));
    }
}
