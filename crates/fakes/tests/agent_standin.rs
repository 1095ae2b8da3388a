//! The stand-in agent passes the scenarios that the real agent passes (`agent_real.rs`).

mod agents;

use agents::Agent;

fn standin() -> Agent {
    Agent(env!("CARGO_BIN_EXE_gust-agent-standin").into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_passes_is_reported_as_passed() {
    agents::exit_status_is_reported(&standin(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_is_reported_with_its_status() {
    agents::exit_status_is_reported(&standin(), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_can_be_canceled() {
    agents::a_running_job_can_be_canceled(&standin()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_acquire_ends_with_27() {
    agents::a_refused_acquire_ends_with_27(&standin()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_can_use_the_agents_commands() {
    agents::a_job_can_use_the_agents_commands(&standin()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquisition_token_is_good_for_one_job_once() {
    agents::an_acquisition_token_is_good_for_one_job_once(&standin()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quit_agent_says_so_before_it_goes() {
    agents::a_quit_agent_says_so_before_it_goes(&standin()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_finish_reply_is_made_good() {
    agents::a_lost_finish_reply_is_made_good(&standin()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_agents_one_gets_the_job() {
    agents::of_two_agents_one_gets_the_job(&standin()).await;
}

#[tokio::test]
async fn wrong_command_lines_are_refused_with_1() {
    let lines: [&[&str]; 5] = [
        &["start", "--no-such-flag"],
        &["start", "--token", "t", "--build-path", "b"],
        &["start", "--token", "t", "--acquire-job", "j"],
        &[
            "start",
            "--token",
            "t",
            "--acquire-job",
            "j",
            "--build-path",
            "b",
            "--spawn",
            "2",
        ],
        &["annotate", "outside of a job"],
    ];
    for line in lines {
        let output = tokio::process::Command::new(&standin().0)
            .args(line)
            .env_clear()
            .output()
            .await
            .expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        assert!(!output.stderr.is_empty(), "{line:?}: says why");
    }
}
