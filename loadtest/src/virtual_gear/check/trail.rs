//! The last things that happened, small enough to keep them all: what a violation is explained with.

use std::{collections::VecDeque, time::Duration};

use super::seen::{JobIx, MachineIx, Seen};

/// Most that is kept.
const KEPT: usize = 1 << 16;
/// Most that is told about one violation.
const TOLD: usize = 12;

#[derive(Clone, Copy, Debug)]
enum More {
    Nothing,
    Number(u64),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Duration,
    kind: &'static str,
    word: &'static str,
    more: More,
    job: Option<JobIx>,
    machine: Option<MachineIx>,
}

#[derive(Debug, Default)]
pub(super) struct Trail {
    entries: VecDeque<Entry>,
}

impl Trail {
    fn push(&mut self, entry: Entry) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Something happened to a job, a machine, or both.
    pub fn note(
        &mut self,
        at: Duration,
        kind: &'static str,
        word: &'static str,
        job: Option<JobIx>,
        machine: Option<MachineIx>,
    ) {
        self.push(Entry {
            at,
            kind,
            word,
            more: More::Nothing,
            job,
            machine,
        });
    }

    /// A record was written.
    pub fn record(
        &mut self,
        at: Duration,
        word: &'static str,
        revision: u64,
        job: Option<JobIx>,
        machine: Option<MachineIx>,
    ) {
        self.push(Entry {
            at,
            kind: "record",
            word,
            more: More::Number(revision),
            job,
            machine,
        });
    }

    /// A fault met something.
    pub fn fault(
        &mut self,
        at: Duration,
        kind: &'static str,
        job: Option<JobIx>,
        machine: Option<MachineIx>,
    ) {
        self.note(at, "fault", kind, job, machine);
    }

    /// Something became of a replica.
    pub fn host(&mut self, at: Duration, replica: usize, word: &'static str) {
        self.push(Entry {
            at,
            kind: "replica",
            word,
            more: More::Number(replica as u64),
            job: None,
            machine: None,
        });
    }

    /// Another replica leads, or none does.
    pub fn leader(&mut self, at: Duration, word: &'static str, term: u64) {
        self.push(Entry {
            at,
            kind: "leader",
            word,
            more: More::Number(term),
            job: None,
            machine: None,
        });
    }

    /// The last lines about these jobs and machines; where there are few, also what happened to replicas.
    pub fn about(&self, seen: &Seen, jobs: &[JobIx], machines: &[MachineIx]) -> Vec<String> {
        let concerns = |entry: &&Entry| {
            entry.job.is_some_and(|job| jobs.contains(&job))
                || entry.machine.is_some_and(|machine| machines.contains(&machine))
        };
        let general = |entry: &&Entry| entry.job.is_none() && entry.machine.is_none();
        let mut chosen: Vec<(usize, &Entry)> = self
            .entries
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, entry)| concerns(entry))
            .take(TOLD)
            .collect();
        let room = (TOLD - chosen.len()).min(if chosen.is_empty() { TOLD } else { 4 });
        let others = self.entries.iter().enumerate().rev();
        chosen.extend(others.filter(|(_, entry)| general(entry)).take(room));
        chosen.sort_unstable_by_key(|(place, _)| *place);
        chosen.into_iter().map(|(_, entry)| line(seen, entry)).collect()
    }
}

fn line(seen: &Seen, entry: &Entry) -> String {
    if let ("replica", More::Number(replica)) = (entry.kind, entry.more) {
        return format!(
            "{:>9.3} s  replica {replica} {}",
            entry.at.as_secs_f64(),
            entry.word
        );
    }
    let mut text = format!("{:>9.3} s  {}", entry.at.as_secs_f64(), entry.kind);
    if !entry.word.is_empty() {
        text.push_str(&format!(" {}", entry.word));
    }
    match (entry.kind, entry.more) {
        (_, More::Nothing) => {}
        ("leader", More::Number(term)) => text.push_str(&format!(", term {term}")),
        ("record", More::Number(revision)) => text.push_str(&format!(" @{revision}")),
        (_, More::Number(number)) => text.push_str(&format!(" {number}")),
    }
    if let Some(job) = entry.job {
        text.push_str(&format!(" job {}", seen[job].id));
    }
    if let Some(machine) = entry.machine {
        text.push_str(&format!(" machine {}", seen[machine].name));
    }
    text
}
