//! A rolling upgrade: replicas are restarted one by one with another build, under the same standing backlog.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use gust_store::etcd::Event;
use serde_json::Value;

use super::{
    super::{fleet::key, verdict::Verdict},
    Cause, FailoverOptions, Loss, Run,
    gaps::percentile,
};

/// What to do.
#[derive(Clone, Debug)]
pub struct UpgradeOptions {
    /// The other build's `gust`.
    pub to: PathBuf,
    /// At least so many jobs wait whenever a replica is restarted.
    pub backlog: usize,
    /// Seed of the fakes.
    pub seed: u64,
    /// How long the fleet may take to be whole again after a restart.
    pub patience: Duration,
}

/// One replica's restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Which replica.
    pub replica: usize,
    /// Whether it led.
    pub led: bool,
    /// The longest time without an accepted create around it, in seconds, less the median of the run.
    pub hole: f64,
}

/// The outcome.
#[derive(Debug)]
pub struct Upgraded {
    /// In the order of the restarts.
    pub steps: Vec<Step>,
    /// Times between accepted creates away from all restarts, in seconds: the median and the 99th percentile.
    pub usual: (f64, f64),
    /// The versions that members showed.
    pub versions: BTreeSet<String>,
    /// What the judge says.
    pub verdict: Verdict,
}

/// Restarts each replica with the other build, telling progress through `say`.
///
/// # Errors
/// A process fails by itself, or the fleet does not recover in time.
pub async fn upgrade(options: &UpgradeOptions, dir: &Path, say: &mut dyn FnMut(String)) -> Result<Upgraded> {
    let to = std::path::absolute(&options.to).context("the other build has no path")?;
    let under = FailoverOptions {
        causes: vec![Cause::HandOver],
        count: 0,
        backlog: options.backlog,
        seed: options.seed,
        patience: options.patience,
    };
    let (mut run, fakes) = Run::start(&under, dir).await?;
    let backlog = run.backlog.clone();
    let mut led = Vec::new();
    let restarts = async {
        for nth in 0..run.fleet.count() {
            let leads = run
                .renew(nth, &to)
                .await
                .with_context(|| format!("replica {nth}"))?;
            say(format!(
                "r{nth} runs the other build{}",
                if leads { "; it led" } else { "" }
            ));
            led.push(leads);
        }
        run.whole().await?;
        run.flow_on().await
    };
    tokio::select! {
        biased;
        kept = backlog.keep() => kept?,
        done = restarts => done?,
    }
    backlog.end(options.patience).await?;
    let found = run.judge(&fakes).await?;
    let losses: Vec<Loss> = run.losses.iter().map(|(_, loss)| *loss).collect();
    let usual = found.course.usual(&losses);
    let usual = (percentile(&usual, 50), percentile(&usual, 99));
    let step = |(replica, led): (usize, bool)| {
        let hole = found
            .course
            .hole(losses[replica], losses.get(replica + 1).copied());
        let hole = hole.with_context(|| format!("nothing was placed around r{replica}"))?;
        let hole = (hole - usual.0).max(0.0);
        Ok(Step { replica, led, hole })
    };
    Ok(Upgraded {
        steps: led.into_iter().enumerate().map(step).collect::<Result<_>>()?,
        usual,
        versions: versions(&found.history),
        verdict: found.verdict,
    })
}

impl Run<'_> {
    /// Restarts a replica with another build, and tells whether it led.
    async fn renew(&mut self, nth: usize, to: &Path) -> Result<bool> {
        let (leader, term) = self.ready(Cause::HandOver, Duration::ZERO).await?;
        let at = self.now();
        self.fleet.stop(nth).await?;
        self.losses.push((Cause::HandOver, Loss { at, term }));
        self.fleet.restart_with(nth, to)?;
        self.flow_on().await?;
        Ok(leader == nth)
    }
}

/// The versions that members showed in etcd.
fn versions(history: &[Event]) -> BTreeSet<String> {
    let members = key("members/");
    history
        .iter()
        .filter(|event| event.key.starts_with(&members))
        .filter_map(|event| serde_json::from_slice(event.value.as_deref()?).ok())
        .filter_map(|member: Value| member["version"].as_str().map(str::to_owned))
        .collect()
}
