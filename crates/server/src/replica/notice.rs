//! What is odd about who else is there, said once: most often two deployments that share an etcd and a stack's name.

use gust_core::{
    ids::Term,
    ports::{Member, Roster},
};

/// A namesake is believed in when it was seen so often in a row: the key of an earlier life of this very replica is
/// there for a moment.
const SURE: u32 = 3;

/// What one replica has noticed so far.
#[derive(Debug, Default)]
pub(super) struct Notice {
    namesake: u32,
    /// The leader of another configuration that was spoken of.
    stranger: Option<Term>,
}

impl Notice {
    /// What is new about this roster, each as a line for the operator.
    pub fn look(&mut self, roster: &Roster, me: &Member) -> Vec<String> {
        let namesake = self.namesake(roster, me);
        namesake.into_iter().chain(self.stranger(roster, me)).collect()
    }

    fn namesake(&mut self, roster: &Roster, me: &Member) -> Option<String> {
        let other = roster.members.get(&me.replica).filter(|shown| *shown != me);
        let Some(other) = other else {
            self.namesake = 0;
            return None;
        };
        self.namesake = self.namesake.saturating_add(1);
        (self.namesake == SURE).then(|| {
            format!(
                "another process, at {}, calls itself {} in this stack: give each replica a name of its own, and each \
                 deployment its own `stack`",
                other.address, me.replica
            )
        })
    }

    fn stranger(&mut self, roster: &Roster, me: &Member) -> Option<String> {
        let (leader, term) = roster.leader.as_ref()?;
        let member = roster.members.get(leader)?;
        if member.config == me.config || self.stranger == Some(*term) {
            return None;
        }
        self.stranger = Some(*term);
        Some(format!(
            "the leader, {leader} at {}, has another configuration and gives this replica no work: if no change is being \
             rolled out, two deployments share this `stack` and etcd",
            member.address
        ))
    }
}

#[cfg(test)]
mod tests {
    use gust_core::ids::ReplicaId;

    use super::*;

    fn member(replica: &str, address: &str, config: &str) -> Member {
        Member {
            replica: ReplicaId::new(replica),
            zone: String::new(),
            address: address.to_owned(),
            version: "1".to_owned(),
            config: config.to_owned(),
        }
    }

    fn roster(leader: u64, members: &[&Member]) -> Roster {
        let leading = members
            .first()
            .map(|member| (member.replica.clone(), Term(leader)));
        Roster {
            leader: leading,
            members: members
                .iter()
                .map(|member| (member.replica.clone(), (*member).clone()))
                .collect(),
            ..Roster::default()
        }
    }

    #[test]
    fn a_leader_of_another_deployment_is_told_of_once_a_term() {
        let (me, theirs) = (member("a", "a:1", "ours"), member("x", "x:1", "theirs"));
        let (ours, mut notice) = (member("b", "b:1", "ours"), Notice::default());
        assert!(notice.look(&roster(1, &[&ours, &me, &theirs]), &me).is_empty());
        let said = notice.look(&roster(2, &[&theirs, &me, &ours]), &me);
        assert!(said.len() == 1 && said[0].contains("x at x:1"), "{said:?}");
        assert!(notice.look(&roster(2, &[&theirs, &me]), &me).is_empty());
        assert_eq!(notice.look(&roster(5, &[&theirs, &me]), &me).len(), 1);
    }

    #[test]
    fn a_namesake_is_told_of_once_and_an_earlier_life_is_none() {
        let (me, leader) = (member("a", "a:1", "c"), member("b", "b:1", "c"));
        let other = member("a", "elsewhere:1", "c");
        let mut notice = Notice::default();
        // Before we joined, what an earlier life of ours said is still there.
        for shown in [&other, &other, &me] {
            assert!(notice.look(&roster(1, &[&leader, shown]), &me).is_empty());
        }
        let mut said = Vec::new();
        for _ in 0..9 {
            said.extend(notice.look(&roster(1, &[&leader, &other]), &me));
        }
        assert!(said.len() == 1 && said[0].contains("elsewhere:1"), "{said:?}");
    }
}
