//! The stand-in agent passes the scenarios that the real agents pass (`real_clients.rs`).

mod agents;

use agents::{Agent, SCENARIOS};

fn standin() -> Agent {
    Agent(env!("CARGO_BIN_EXE_gust-agent-standin").into())
}

async fn passes(name: &str) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.expect("a scenario of that name");
    let seen = (scenario.run)(&standin()).await;
    eprintln!("{name}: expected {}; saw {seen}", scenario.expected);
}

/// One test for each scenario, so that they run beside each other and fail by name.
macro_rules! passes {
    ($($test:ident: $name:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            passes($name).await;
        })*

        #[test]
        fn no_scenario_is_left_out() {
            let all: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            assert_eq!(all, [$($name),*]);
        }
    };
}

passes! {
    a_job_that_passes_is_reported_as_passed: "exit 0";
    a_job_that_fails_is_reported_with_its_status: "exit 3";
    a_job_canceled_while_its_machine_boots_is_never_run: "cancel while booting";
    a_running_job_can_be_canceled: "cancel while running";
    a_refused_acquire_ends_with_27: "acquire refused";
    of_two_agents_one_gets_the_job: "two agents, one job";
    an_acquisition_token_is_good_for_one_job_once: "job acquisition token";
    a_job_can_annotate: "annotation";
    a_job_can_use_meta_data: "meta-data";
    a_job_can_upload_an_artifact: "artifact upload";
    a_job_can_add_steps: "pipeline upload";
    a_killed_agents_job_is_retried: "agent killed";
    a_quit_agent_says_so_before_it_goes: "SIGQUIT";
    a_lost_finish_reply_is_made_good: "lost reply to finish";
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
