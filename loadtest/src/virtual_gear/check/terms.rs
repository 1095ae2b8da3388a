//! Invariant 5: only the leader writes records, and nothing happens outside that was not durable before.
//!
//! An effect is durable if the store ever held its record before: a deposed leader's records were all written
//! before its successor's first write, so what it still causes then was durable in time.

use std::time::Duration;

use gust_core::records::Format;

use super::{
    super::replica::form,
    Checker, Committed, Invariant,
    seen::{JobIx, MachineIx},
};

impl Checker {
    /// The form in which a replica's build writes records.
    fn form_of(&self, replica: &str) -> Format {
        form(self.builds.get(replica).copied().unwrap_or(0))
    }

    /// A transaction writes records.
    pub(super) fn written_by_leader(&mut self, at: Duration, commit: &Committed) {
        let leads = self.store.term;
        let who = commit.replica.as_deref().unwrap_or("etcd itself");
        let what = if commit.term == 0 {
            format!("{who} wrote records without comparing the leader's key")
        } else if commit.term != leads {
            format!(
                "{who} wrote records of term {} while term {leads} leads",
                commit.term
            )
        } else if commit
            .replica
            .as_ref()
            .is_some_and(|who| *who != self.store.leader)
        {
            format!("{who} wrote records while {} leads", self.store.leader)
        } else if let Some(theirs) = self.store.too_new_for(self.form_of(who)) {
            format!(
                "{who} wrote records of form {} over some that builds of form {} and later can read",
                self.form_of(who).version,
                theirs.readable_by
            )
        } else {
            return self.decides_unseen(at);
        };
        self.violate(at, Invariant::Terms, what, &[], &[]);
    }

    /// The leader's key, if the transaction wrote it.
    pub(super) fn leader_written(&mut self, at: Duration, commit: &Committed, leader: Option<Option<&[u8]>>) {
        match leader {
            None => {}
            Some(None) => {
                self.trail.leader(at, "gone", self.store.term);
                let by = commit.replica.as_ref();
                if by.is_some_and(|by| *by != self.store.leader) {
                    self.callers.leader_deposed(at, &self.store.leader);
                }
                self.store.term = 0;
                self.store.leader.clear();
                self.shown.deposed();
            }
            Some(Some(value)) => {
                if self.store.term == 0 {
                    self.store.term = commit.revision;
                    self.store.leader = String::from_utf8_lossy(value).into_owned();
                    self.trail.leader(at, "elected", commit.revision);
                    self.shown.deposed();
                } else {
                    let what = format!(
                        "the leader's key was written over while term {} leads",
                        self.store.term
                    );
                    self.violate(at, Invariant::Terms, what, &[], &[]);
                }
            }
        }
    }

    /// The stack finished a job: it must be recorded as refusing before.
    pub(super) fn finish_was_durable(&mut self, at: Duration, ix: JobIx) {
        if !self.seen[ix].refusing {
            let what = format!(
                "job {} was finished by the stack before that was durable",
                self.seen[ix].id
            );
            self.violate(at, Invariant::Terms, what, &[ix], &[]);
        }
    }

    /// A token was issued: a machine must have been given the job before.
    pub(super) fn token_was_durable(&mut self, at: Duration, ix: JobIx) {
        if self.seen[ix].claimants.is_empty() {
            let what = format!(
                "a token of job {} was issued before a claim of it was durable",
                self.seen[ix].id
            );
            self.violate(at, Invariant::Terms, what, &[ix], &[]);
        }
    }

    /// A machine is deleted by a call: it must be recorded as going before.
    pub(super) fn delete_was_durable(&mut self, at: Duration, ix: MachineIx) {
        if !self.seen[ix].deleting {
            let what = format!("machine {} was deleted before that was durable", self.name(ix));
            self.violate(at, Invariant::Terms, what, &[], &[ix]);
        }
    }
}
