//! Short names: nobody can follow thirty UUIDs through a thousand lines.
//!
//! A job is called by its step, a machine by the job it was made for, an operation by its number. The line that
//! tells of a job's birth still has its UUID.

use std::{borrow::Cow, collections::BTreeMap};

use gust_core::ids::{JobId, MachineName, StackName};
use uuid::Uuid;

/// Letters of a UUID that has no better name.
const PREFIX: usize = 8;

/// Names of what was seen so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    jobs: BTreeMap<Uuid, String>,
    /// Names of machines without the number at their end, and the job they are made for.
    machines: BTreeMap<String, Uuid>,
    /// How many jobs a step has.
    steps: BTreeMap<String, u32>,
}

impl Names {
    /// A job came to be: from now on it is called by its step.
    pub fn learn(&mut self, stack: &StackName, job: Uuid, step: &str) {
        let count = self.steps.entry(step.to_owned()).or_default();
        *count += 1;
        let name = match count {
            1 => step.to_owned(),
            n => format!("{step}#{n}"),
        };
        self.jobs.insert(job, name);
        let first = MachineName::for_attempt(stack, JobId(job), 1);
        if let Some((stem, _)) = first.as_str().rsplit_once('-') {
            self.machines.insert(stem.to_owned(), job);
        }
    }

    /// The line with every long name in it replaced by a short one.
    pub fn shorten(&self, line: &str) -> String {
        let mut short = String::with_capacity(line.len());
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let mut rest = line;
        while let Some(start) = rest.find(is_part) {
            let (before, after) = rest.split_at(start);
            let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
            let (word, after) = after.split_at(end);
            short.push_str(before);
            short.push_str(&self.word(word));
            rest = after;
        }
        short.push_str(rest);
        short
    }

    fn word<'w>(&self, word: &'w str) -> Cow<'w, str> {
        if word.len() == 36
            && let Ok(id) = Uuid::parse_str(word)
        {
            return match self.jobs.get(&id) {
                Some(name) => Cow::Owned(name.clone()),
                None => Cow::Borrowed(&word[..PREFIX]),
            };
        }
        let Some((stem, number)) = word.rsplit_once('-') else {
            return Cow::Borrowed(word);
        };
        if let Some(job) = self.machines.get(stem) {
            return Cow::Owned(format!("{}/{number}", self.jobs[job]));
        }
        if stem.starts_with("operation-") {
            return Cow::Owned(format!("op-{}", number.trim_start_matches('0')));
        }
        Cow::Borrowed(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "d184707e-9316-4869-81e8-035b36f65f73";
    const RETRY: &str = "aaa79d1c-4c34-4afe-9393-038e8ac0f071";

    fn stack() -> StackName {
        StackName::new("gust").unwrap()
    }

    fn names() -> Names {
        let mut names = Names::default();
        for job in [JOB, RETRY] {
            names.learn(&stack(), Uuid::parse_str(job).unwrap(), "first");
        }
        names
    }

    #[test]
    fn a_job_is_called_by_its_step_and_a_machine_by_its_job() {
        let machine = MachineName::for_attempt(&stack(), JobId(Uuid::parse_str(JOB).unwrap()), 12);
        let line = format!("+jobs/virtual/{JOB}=booked [{RETRY}] name={machine}, {machine}");
        assert_eq!(
            names().shorten(&line),
            "+jobs/virtual/first=booked [first#2] name=first/12, first/12"
        );
    }

    #[test]
    fn what_has_no_short_name_keeps_enough_to_be_found() {
        let line = "+batches/54e607f3-0983-5a47-898c-866419109ac8 operation-1767225602056-c509679da5c61369-00000a03 us-east1-c – gust-x-1";
        assert_eq!(
            names().shorten(line),
            "+batches/54e607f3 op-a03 us-east1-c – gust-x-1"
        );
    }
}
