//! One run: gust over either kind of store, and what is seen of it while it goes on.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    super::{
        control::Control,
        fleet::{Fleet, Muster},
        processes::{Fakes, Programs, Replica},
    },
    BurstOptions, Records,
    course::Course,
};

/// Between two looks at what happened.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait until a replica has read all that it needs.
const READY: Duration = Duration::from_secs(60);

/// gust, over either kind of store.
pub(super) enum Gust {
    Embedded(Box<Replica>),
    Etcd(Box<Fleet>),
}

impl Gust {
    pub(super) fn start(
        options: &BurstOptions,
        programs: &Programs,
        dir: &Path,
        fakes: &Fakes,
    ) -> Result<Self> {
        let regions = options.regions();
        Ok(match options.records {
            Records::Embedded => {
                Self::Embedded(Box::new(Replica::start_in(programs, dir, fakes, regions, "")?))
            }
            Records::Etcd => {
                let muster = Muster {
                    replicas: 1,
                    members: 1,
                    regions,
                    more: "",
                };
                Self::Etcd(Box::new(Fleet::start(programs, dir, fakes, &muster)?))
            }
        })
    }

    pub(super) fn check(&mut self) -> Result<()> {
        match self {
            Self::Embedded(replica) => replica.id().map(drop),
            Self::Etcd(fleet) => fleet.check(0).map(drop),
        }
    }

    /// Ends it; its journal.
    pub(super) async fn stop(self) -> Result<Vec<Value>> {
        match self {
            Self::Embedded(replica) => {
                let journal = replica.read_journal()?;
                replica.stop().await?;
                Ok(journal)
            }
            Self::Etcd(mut fleet) => {
                fleet.stop(0).await?;
                fleet.read_journals()
            }
        }
    }
}

pub(super) struct Run {
    pub(super) control: Control,
    pub(super) course: Course,
    pub(super) jobs: usize,
    pub(super) regions: &'static [&'static str],
}

impl Run {
    pub(super) async fn look(&mut self) -> Result<()> {
        let (events, last) = self.control.some_events(self.course.last, Course::wants).await?;
        self.course.last = last;
        for event in events {
            self.course.take(event);
        }
        Ok(())
    }

    pub(super) async fn ready(&mut self, gust: &mut Gust) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            self.look().await?;
            if self.course.is_ready(self.regions) {
                return Ok(());
            }
            gust.check()?;
            ensure!(
                Instant::now() < deadline,
                "gust has not read quotas and machines within {READY:?}"
            );
            sleep(LOOK).await;
        }
    }

    pub(super) async fn until_end(
        &mut self,
        gust: &mut Gust,
        patience: Duration,
        say: &mut dyn FnMut(String),
    ) -> Result<()> {
        let (begun, mut told) = (Instant::now(), Instant::now());
        loop {
            self.look().await?;
            if self.course.is_over(self.jobs) {
                return Ok(());
            }
            gust.check()?;
            let Course {
                machines, live, over, ..
            } = &self.course;
            let stands = format!(
                "{machines} machines made, {} left, {} jobs over",
                live.len(),
                over.len()
            );
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                say(format!("after {:.0} s: {stands}", begun.elapsed().as_secs_f64()));
            }
            if begun.elapsed() >= patience {
                bail!("after {patience:?}: {stands}; see gust.log and fakes.log");
            }
            sleep(LOOK).await;
        }
    }
}
