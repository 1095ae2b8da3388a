//! The course of a demo: start, submit, follow, wait for the end, stop, judge.

use std::{fs::File, io::Write as _, time::Duration};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    Plan,
    child::Child,
    control::{Control, Events, Ready},
    render,
    screen::Screen,
    state::State,
};
use crate::{exit_codes, failure::Failure};

/// How long the replica has from its start to its first question for jobs.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);
/// How long machines may take to be gone after the last job's end: as fast as the demo's cloud boots, and as
/// slow as Google.
const DELETE_PATIENCE: Duration = Duration::from_secs(60);
const DELETE_PATIENCE_REAL: Duration = Duration::from_secs(300);
/// How long a process may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const REDRAW: Duration = Duration::from_millis(200);

/// Why the demo stopped following.
enum Ending {
    /// All jobs have ended and all machines are gone.
    Complete,
    /// All jobs have ended, and machines are still there.
    Leftover,
    /// A person or a supervisor asked for it.
    Interrupted,
}

struct Demo {
    plan: Plan,
    screen: Screen,
    state: State,
    record: File,
    seen: u64,
    /// Time of the newest event by our clock, so that running times advance between events.
    heard: Instant,
    fakes: Child,
    server: Child,
}

/// The signals that end a demo.
struct Interrupts([Signal; 3]);

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [int, term, hup] = &mut self.0;
        tokio::select! {
            biased;
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }
}

pub(super) async fn run(plan: Plan) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let record = plan.create_events()?;
    let mut screen = Screen::new();
    plan.introduce(&mut screen);
    let (fakes, ready) = plan.start_fakes().await?;
    let control = Control::new(&ready.control)?;
    let events = control.follow().await?;
    let server = plan.start_server(&ready)?;
    let mut demo = Demo {
        state: State::expecting(plan.expected.clone()),
        plan,
        screen,
        record,
        seen: 0,
        heard: Instant::now(),
        fakes,
        server,
    };
    let ending = demo.course(&control, &ready, events, &mut interrupts).await;
    demo.stop(&control).await?;
    demo.judge(ending?)
}

impl Demo {
    /// From the start to the last event that matters.
    async fn course(
        &mut self,
        control: &Control,
        ready: &Ready,
        mut events: Events,
        interrupts: &mut Interrupts,
    ) -> Result<Ending, Failure> {
        let deadline = Instant::now() + SERVER_PATIENCE;
        let listening = self.follow(&mut events, interrupts, Some(deadline), |state| {
            state.server_listens
        });
        match listening.await? {
            Ending::Complete => {}
            Ending::Leftover => {
                return Err(self.server.complaint("gust serve has not asked for jobs in time"));
            }
            Ending::Interrupted => return Ok(Ending::Interrupted),
        }
        let taken = control.submit(self.plan.yaml.clone()).await?;
        let count = taken.jobs.len();
        self.screen
            .say(&format!("build {}: {count} jobs submitted", taken.build.number));
        if !self.plan.args.once {
            self.plan.invite(&mut self.screen, control, ready);
            let forever = self.follow(&mut events, interrupts, None, |_| false);
            return forever.await;
        }
        let ended = move |state: &State| state.jobs.len() >= count && state.all_ended();
        match self.follow(&mut events, interrupts, None, ended).await? {
            Ending::Complete => {}
            other => return Ok(other),
        }
        let patience = if self.plan.args.real_time || self.plan.args.limits != "demo" {
            DELETE_PATIENCE_REAL
        } else {
            DELETE_PATIENCE
        };
        let gone = |state: &State| state.machines_left().next().is_none();
        let deadline = Instant::now() + patience;
        self.follow(&mut events, interrupts, Some(deadline), gone).await
    }

    /// Follows the event log until `done`, the deadline, or an interrupt.
    async fn follow(
        &mut self,
        events: &mut Events,
        interrupts: &mut Interrupts,
        deadline: Option<Instant>,
        done: impl Fn(&State) -> bool,
    ) -> Result<Ending, Failure> {
        let mut redraw = interval(REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !done(&self.state) {
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = interrupts.next() => return Ok(Ending::Interrupted),
                failure = self.fakes.early_end() => return Err(failure),
                failure = self.server.early_end() => return Err(failure),
                line = events.next() => {
                    let line = line?.context("the event log ended")?;
                    self.take(&line)?;
                }
                () = late => return Ok(Ending::Leftover),
                _ = redraw.tick() => {
                    let now = self.state.now + self.heard.elapsed().as_secs_f64();
                    self.screen.draw(&self.state, now);
                }
            }
        }
        Ok(Ending::Complete)
    }

    /// Takes one line of the event log: to the file as it came, and into the state.
    fn take(&mut self, line: &str) -> Result<(), Failure> {
        let event: Value = serde_json::from_str(line)
            .with_context(|| format!("the event log has a line that is no JSON: {line}"))?;
        self.record
            .write_all(format!("{line}\n").as_bytes())
            .context("cannot write the event log")?;
        self.seen = event["seq"].as_u64().unwrap_or(self.seen);
        self.heard = Instant::now();
        if let Some(news) = self.state.apply(&event) {
            self.screen.tell(&news);
        }
        Ok(())
    }

    /// Ends the replica, reads what the log still has, and ends the stand-ins.
    async fn stop(&mut self, control: &Control) -> Result<(), Failure> {
        self.server.stop(STOP_PATIENCE).await;
        // If the stand-ins are gone, so is the rest of the log; that failure was told already.
        if let Ok(mut rest) = control.after(self.seen).await {
            while let Ok(Some(line)) = rest.next().await {
                self.take(&line)?;
            }
        }
        self.fakes.stop(STOP_PATIENCE).await;
        Ok(())
    }

    /// Shows the outcome and tells whether it is the expected one.
    fn judge(mut self, ending: Ending) -> Result<(), Failure> {
        self.screen.say(&format!(
            "\n{}\n{}\nevents:   {}\njournal:  {}\nlogs:     {}",
            render::table(&self.state),
            render::summary(&self.state),
            self.plan.events.display(),
            self.plan.journal.display(),
            self.plan.dir.display(),
        ));
        if let Ending::Interrupted = ending {
            if self.plan.args.once {
                let error = anyhow!("interrupted before all jobs had ended");
                return Err(Failure::new(exit_codes::INTERRUPTED, error));
            }
            return Ok(());
        }
        let odd: Vec<&str> = self
            .state
            .jobs
            .values()
            .filter(|job| !job.as_expected())
            .map(|job| job.name.as_str())
            .collect();
        if !odd.is_empty() {
            let error = anyhow!("ended otherwise than expected: {}", odd.join(", "));
            return Err(Failure::new(exit_codes::DEMO_UNEXPECTED, error));
        }
        let left: Vec<&str> = self.state.machines_left().map(|(n, _)| n.as_str()).collect();
        if !left.is_empty() {
            let error = anyhow!("machines left behind: {}", left.join(", "));
            return Err(Failure::new(exit_codes::DEMO_LEFTOVER, error));
        }
        Ok(())
    }
}
