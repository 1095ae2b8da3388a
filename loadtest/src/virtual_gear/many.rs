//! Many runs, on several threads: each run has a runtime of its own on one of them.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    cover::Cover,
    run::{Keep, Outcome, run},
    scenario::{INTENSITY, Profile, Scenario},
};

/// Which runs to make.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The first seed.
    pub from: u64,
    /// How many seeds; each is run with every profile and every number of replicas if `all`, else with one, in turn.
    pub seeds: u64,
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// Numbers of replicas.
    pub replicas: Vec<usize>,
    /// Each seed with all profiles and numbers of replicas.
    pub all: bool,
    /// No faults.
    pub plain: bool,
    /// Big plain runs of so many jobs each, in place of the profiles' own sizes ([`Scenario::big`]).
    pub jobs: Option<u32>,
    /// Threads.
    pub threads: usize,
    /// End after so many violations.
    pub most_violations: usize,
}

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was run.
    pub scenario: Scenario,
    /// What was broken, as a word.
    pub broken: String,
    /// What went wrong, first line first.
    pub what: String,
}

/// What all runs together came to.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Runs.
    pub runs: u64,
    /// Jobs.
    pub jobs: u64,
    /// Machines.
    pub machines: u64,
    /// Faults that met something.
    pub faults: u64,
    /// Events and commits the checker saw.
    pub seen: u64,
    /// Virtual time.
    pub took: Duration,
    /// Fewest jobs of a run.
    pub fewest_jobs: u64,
    /// What was counted without being wrong, by name.
    pub counted: BTreeMap<&'static str, u64>,
    /// Pairs of state and fault.
    pub cover: Cover,
    /// Runs that failed.
    pub failures: Vec<Failure>,
}

impl Sum {
    fn add(&mut self, scenario: &Scenario, outcome: &Outcome) {
        let counts = &outcome.verdict.counts;
        self.fewest_jobs = if self.runs == 0 {
            counts.jobs
        } else {
            self.fewest_jobs.min(counts.jobs)
        };
        self.runs += 1;
        self.jobs += counts.jobs;
        self.machines += counts.machines;
        self.faults += counts.faults;
        self.seen += counts.events + counts.commits;
        self.took += outcome.took;
        for (name, count) in [
            ("tokens issued anew", counts.reissued),
            (
                "second machines for a job, the first revoked",
                counts.second_machines,
            ),
            ("machines without a record for a while", counts.strays),
        ] {
            *self.counted.entry(name).or_default() += count;
        }
        self.cover.merge(&outcome.cover);
        if let Some(what) = outcome.failure() {
            self.failures.push(Failure {
                scenario: scenario.clone(),
                broken: outcome.broken().unwrap_or_default(),
                what,
            });
        }
    }
}

impl Sweep {
    /// The n-th run.
    pub fn scenario(&self, n: u64) -> Scenario {
        let (profiles, replicas) = (self.profiles.len() as u64, self.replicas.len() as u64);
        let (seed, turn) = if self.all {
            (self.from + n / (profiles * replicas), n)
        } else {
            (self.from + n, self.from + n)
        };
        let profile = self.profiles[(turn % profiles) as usize];
        let replicas = self.replicas[((turn / profiles) % replicas) as usize];
        if let Some(jobs) = self.jobs
            && let Some(big) = Scenario::big(seed, profile, replicas, jobs)
        {
            return big;
        }
        let intensity = if self.plain { 0.0 } else { INTENSITY };
        Scenario::draw(seed, profile, replicas, intensity)
    }

    /// How many runs there will be.
    pub fn runs(&self) -> u64 {
        if self.all {
            self.seeds * self.profiles.len() as u64 * self.replicas.len() as u64
        } else {
            self.seeds
        }
    }

    /// Makes all runs. `progress` is called after each, on the thread that made it.
    pub fn run(&self, progress: &(dyn Fn(&Sum) + Sync)) -> Sum {
        self.run_on(&|| (), progress)
    }

    /// As [`Sweep::run`]; `begin` is called first on each thread.
    pub fn run_on(&self, begin: &(dyn Fn() + Sync), progress: &(dyn Fn(&Sum) + Sync)) -> Sum {
        let next = AtomicU64::new(0);
        let enough = AtomicBool::new(false);
        let sum = Mutex::new(Sum::default());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    begin();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= self.runs() || enough.load(Ordering::Relaxed) {
                            return;
                        }
                        let scenario = self.scenario(n);
                        let outcome = run(&scenario, Keep::Nothing);
                        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                        sum.add(&scenario, &outcome);
                        if sum.failures.len() >= self.most_violations {
                            enough.store(true, Ordering::Relaxed);
                        }
                        progress(&sum);
                    }
                });
            }
        });
        let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Threads end in any order; the report is the same all the same.
        sum.failures.sort_by_key(|failure| failure.scenario.seed);
        sum
    }
}
