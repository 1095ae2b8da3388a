//! Scenarios that every agent must pass against the fake Buildkite, the real ones and the stand-in alike.
//!
//! Each scenario owns its world: fakes in this process, the agent as a child with an environment of its
//! own. What happened is read from the event log and the control surface, not from the agent. A scenario that does
//! not go as it must panics; one that does returns in a few words what was seen.

mod acquire;
mod commands;
mod running;
mod world;

use std::{path::PathBuf, pin::Pin};

/// The program under test.
pub struct Agent(pub PathBuf);

type Run = for<'a> fn(&'a Agent) -> Pin<Box<dyn Future<Output = String> + 'a>>;

/// What an agent is put through.
pub struct Scenario {
    /// A few words.
    pub name: &'static str,
    /// What must be seen.
    pub expected: &'static str,
    /// Runs it.
    pub run: Run,
}

macro_rules! scenarios {
    ($($name:literal, $expected:literal, |$agent:ident| $run:expr;)*) => {
        &[$(Scenario { name: $name, expected: $expected, run: |$agent| Box::pin($run) }),*]
    };
}

/// All of them.
pub const SCENARIOS: &[Scenario] = scenarios! {
    "exit 0", "accepted, running, finished with 0; agent ends with 0",
        |agent| running::exit_status_is_reported(agent, 0);
    "exit 3", "accepted, running, finished with 3; agent ends with 0",
        |agent| running::exit_status_is_reported(agent, 3);
    "cancel while booting", "canceled at once; acquire refused: 27; with the job's own token 1 or 27",
        |agent| acquire::canceled_while_its_machine_boots(agent);
    "cancel while running", "canceled: -1, SIGTERM, cancel, though the command traps it",
        |agent| running::a_running_job_can_be_canceled(agent);
    "acquire refused", "27, nothing has run",
        |agent| acquire::a_refused_acquire_ends_with_27(agent);
    "two agents, one job", "0 and 27, acquired once",
        |agent| acquire::of_two_agents_one_gets_the_job(agent);
    "job acquisition token", "good for its own job, once; no other job moves",
        |agent| acquire::an_acquisition_token_is_good_for_one_job_once(agent);
    "annotation", "body, style, context and scope arrive; appended to",
        |agent| commands::annotation(agent);
    "meta-data", "set, get, exists (100), default, keys",
        |agent| commands::meta_data(agent);
    "artifact upload", "stored whole, checksums fit",
        |agent| commands::artifact_upload(agent);
    "pipeline upload", "a second job, its tags as text; it runs",
        |agent| commands::pipeline_upload(agent);
    "agent killed", "lost, job ends with -1, retried as a new job, which passes",
        |agent| running::a_killed_agents_job_is_retried(agent);
    "SIGQUIT", "-1, agent_stop, agent disconnects",
        |agent| running::a_quit_agent_says_so_before_it_goes(agent);
    "lost reply to finish", "repeated, finished once",
        |agent| running::a_lost_finish_reply_is_made_good(agent);
};
