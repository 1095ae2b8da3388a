//! Buildkite's own agent against the fake, where one is at hand: `GUST_BUILDKITE_AGENT=/path/to/buildkite-agent`.
//!
//! It judges the fake: what the real agent cannot work with is wrong in the fake.

mod agents;

use std::{
    env,
    io::{self, Write as _},
    process::Command,
};

use agents::Agent;

/// The agent named by the environment; without one the test says so, loudly, and has nothing to check.
fn real(test: &str) -> Option<Agent> {
    let Some(path) = env::var_os("GUST_BUILDKITE_AGENT") else {
        say(&format!(
            "SKIPPED: GUST_BUILDKITE_AGENT not set, so `{test}` has checked NOTHING with a real buildkite-agent"
        ));
        return None;
    };
    let version = Command::new(&path)
        .arg("--version")
        .output()
        .expect("GUST_BUILDKITE_AGENT names an agent");
    say(&format!(
        "{test}: {}",
        String::from_utf8_lossy(&version.stdout).trim()
    ));
    Some(Agent(path.into()))
}

/// Straight to stderr: what goes through `eprintln!` is shown only for tests that fail.
fn say(line: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_passes_is_reported_as_passed() {
    if let Some(agent) = real("exit 0") {
        agents::exit_status_is_reported(&agent, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_is_reported_with_its_status() {
    if let Some(agent) = real("exit 3") {
        agents::exit_status_is_reported(&agent, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_can_be_canceled() {
    if let Some(agent) = real("cancel") {
        agents::a_running_job_can_be_canceled(&agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_acquire_ends_with_27() {
    if let Some(agent) = real("acquire refused") {
        agents::a_refused_acquire_ends_with_27(&agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_can_use_the_agents_commands() {
    if let Some(agent) = real("commands of a job") {
        agents::a_job_can_use_the_agents_commands(&agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquisition_token_is_good_for_one_job_once() {
    if let Some(agent) = real("acquisition token") {
        agents::an_acquisition_token_is_good_for_one_job_once(&agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quit_agent_says_so_before_it_goes() {
    if let Some(agent) = real("SIGQUIT") {
        agents::a_quit_agent_says_so_before_it_goes(&agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_finish_reply_is_made_good() {
    if let Some(agent) = real("lost finish reply") {
        agents::a_lost_finish_reply_is_made_good(&agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_agents_one_gets_the_job() {
    if let Some(agent) = real("race for a job") {
        agents::of_two_agents_one_gets_the_job(&agent).await;
    }
}
