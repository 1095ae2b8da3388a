//! When a follower takes the leader for dead before its lease has lapsed.
//!
//! Proof is a host that answers and a process that does not: a connection to the leader that was there broke, and the
//! redial was *refused*. One that is merely slow, cut off or frozen is left to its lease. A wrong guess costs one change
//! of leaders and never safety, since every write compares the leader's key; so that it stays one, a replica guesses
//! at most once a minute. Times are monotonic, counted from any fixed moment.

use std::time::Duration;

use crate::{ids::Term, ports::Parting};

/// A replica ends the lease of a leader no more often than this.
pub const AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// What one follower has seen of its leaders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// The last leader that was met: a connection to it was there.
    met: Option<Term>,
    /// When a leader was last taken for dead.
    last: Option<Duration>,
}

impl Doubt {
    /// A connection to the leader of `term` ended, or was not made. True if the leader is dead for all that can be
    /// told, and its lease is to be ended now.
    pub fn parted(&mut self, term: Term, parting: &Parting, now: Duration) -> bool {
        match parting {
            Parting::Broke => {
                self.met = Some(term);
                false
            }
            Parting::Silent(_) => false,
            // Where nobody was ever met the address may be wrong, or something in between refuses.
            Parting::Refused if self.met != Some(term) => false,
            Parting::Refused => {
                let due = self.last.is_none_or(|last| now >= last + AT_MOST_EVERY);
                if due {
                    self.last = Some(now);
                }
                due
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use Parting::{Broke, Refused};

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn silent() -> Parting {
        Parting::Silent("no answer".to_owned())
    }

    #[test]
    fn only_a_leader_that_was_met_and_refuses_is_dead() {
        let (term, mut doubt) = (Term(7), Doubt::default());
        assert!(!doubt.parted(term, &Refused, at(0)), "its address may be wrong");
        assert!(!doubt.parted(term, &silent(), at(1)), "it may be slow");
        assert!(!doubt.parted(term, &Broke, at(2)), "it may be there again");
        assert!(!doubt.parted(term, &silent(), at(3)), "it may be slow");
        assert!(doubt.parted(term, &Refused, at(4)));
    }

    #[test]
    fn whom_one_met_says_nothing_of_the_next_leader() {
        let mut doubt = Doubt::default();
        assert!(!doubt.parted(Term(7), &Broke, at(0)));
        assert!(!doubt.parted(Term(9), &Refused, at(1)));
    }

    #[test]
    fn a_leader_is_taken_for_dead_once_a_minute_at_most() {
        let mut doubt = Doubt::default();
        for (term, now, dead) in [(7, 0, true), (9, 59, false), (9, 60, true), (11, 61, false)] {
            let term = Term(term);
            assert!(!doubt.parted(term, &Broke, at(now)));
            assert_eq!(doubt.parted(term, &Refused, at(now)), dead, "at {now} s");
        }
    }
}
