//! How long a job runs and how it ends, from what it would run.

use std::collections::BTreeMap;
use std::time::Duration;

/// Says in the job's environment how long it runs, in seconds.
const RUN: &str = "GUST_SIM_RUN_S";
/// Says its exit status.
const EXIT: &str = "GUST_SIM_EXIT";

/// What a simulated job does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Script {
    pub length: Duration,
    pub exit_status: i32,
}

impl Script {
    /// Of the job's environment. Where that does not say it, the command does, as far as it consists of `sleep`,
    /// `true`, `false` and `exit`; all else takes no time and ends well.
    pub fn of(env: &BTreeMap<String, Option<String>>) -> Self {
        let text = |name: &str| env.get(name).and_then(Option::as_deref);
        let mut script = Self::read(text("BUILDKITE_COMMAND").unwrap_or_default());
        if let Some(length) = text(RUN).and_then(seconds) {
            script.length = length;
        }
        if let Some(status) = text(EXIT).and_then(|text| text.trim().parse().ok()) {
            script.exit_status = status;
        }
        script
    }

    fn read(command: &str) -> Self {
        let mut script = Self {
            length: Duration::ZERO,
            exit_status: 0,
        };
        for part in command.split(['\n', ';']).flat_map(|line| line.split("&&")) {
            let mut words = part.split_whitespace();
            match (words.next(), words.next()) {
                (Some("sleep"), Some(time)) => script.length += seconds(time).unwrap_or_default(),
                (Some("false"), None) => script.exit_status = 1,
                (Some("exit"), status) => {
                    script.exit_status = status.and_then(|text| text.parse().ok()).unwrap_or(0);
                }
                _ => continue,
            }
            // Steps of several commands end with the first that fails.
            if script.exit_status != 0 {
                break;
            }
        }
        script
    }
}

/// Seconds, as `sleep` reads them: `5`, `0.2`, `2m`.
fn seconds(text: &str) -> Option<Duration> {
    let (number, unit) = match text.trim().strip_suffix('m') {
        Some(minutes) => (minutes, 60.0),
        None => (text.trim().trim_end_matches('s'), 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(pairs: &[(&str, &str)]) -> (f64, i32) {
        let env = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned())));
        let script = Script::of(&env.collect());
        (script.length.as_secs_f64(), script.exit_status)
    }

    #[test]
    fn a_command_says_how_long_it_runs_and_how_it_ends() {
        for (command, expected) in [
            ("sleep 0.2", (0.2, 0)),
            ("sleep 1 && sleep 2m; echo done", (121.0, 0)),
            ("make test", (0.0, 0)),
            ("sleep 1\nexit 3\nsleep 5", (1.0, 3)),
            ("false", (0.0, 1)),
            ("sleep forever", (0.0, 0)),
            ("", (0.0, 0)),
        ] {
            assert_eq!(script(&[("BUILDKITE_COMMAND", command)]), expected, "{command}");
        }
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let command = ("BUILDKITE_COMMAND", "sleep 9; exit 1");
        assert_eq!(script(&[command, (RUN, "5"), (EXIT, "0")]), (5.0, 0));
        assert_eq!(script(&[command, (RUN, "-1"), (EXIT, "x")]), (9.0, 1));
    }
}
