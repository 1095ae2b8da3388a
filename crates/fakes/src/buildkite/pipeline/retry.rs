//! Retry rules of a step.
//!
//! Facts: a rule's conditions must all match, the first matching rule wins, each rule counts by itself,
//! limit 2 by default and 10 at most; `"*"` for an exit status means 1 to 255, so never −1
//! (docs: command step, retry attributes).

use serde_json::Value;

use super::text;
use crate::buildkite::ids::Refusal;

/// How a step's jobs may be retried.
#[derive(Clone, Debug)]
pub(in crate::buildkite) struct Retry {
    rules: Vec<Rule>,
    pub(in crate::buildkite) manual_allowed: bool,
    pub(in crate::buildkite) manual_on_passed: bool,
    pub(in crate::buildkite) manual_reason: Option<String>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            manual_allowed: true,
            manual_on_passed: true,
            manual_reason: None,
        }
    }
}

#[derive(Clone, Debug)]
struct Rule {
    exit_status: Option<Vec<String>>,
    signal: Option<String>,
    signal_reason: Option<String>,
    limit: u32,
}

/// How a job ended, as the rules look at it.
#[derive(Clone, Copy, Debug)]
pub(in crate::buildkite) struct Ended<'a> {
    pub(in crate::buildkite) exit_status: &'a str,
    pub(in crate::buildkite) signal: Option<&'a str>,
    pub(in crate::buildkite) signal_reason: Option<&'a str>,
}

impl Retry {
    /// The index of the first rule that matches and its limit.
    pub(in crate::buildkite) fn rule_for(&self, ended: Ended<'_>) -> Option<(usize, u32)> {
        self.rules
            .iter()
            .position(|rule| rule.matches(ended))
            .map(|index| (index, self.rules[index].limit))
    }
}

impl Rule {
    fn matches(&self, ended: Ended<'_>) -> bool {
        let status = match &self.exit_status {
            Some(wanted) => wanted.iter().any(|wanted| {
                if wanted == "*" {
                    ended
                        .exit_status
                        .parse::<i64>()
                        .is_ok_and(|status| (1..=255).contains(&status))
                } else {
                    wanted == ended.exit_status
                }
            }),
            // A rule that names only a signal or a reason is about that; one that names nothing is `"*"`.
            None if self.signal.is_some() || self.signal_reason.is_some() => true,
            None => ended
                .exit_status
                .parse::<i64>()
                .is_ok_and(|status| (1..=255).contains(&status)),
        };
        status
            && fits(self.signal.as_deref(), ended.signal)
            && fits(self.signal_reason.as_deref(), ended.signal_reason)
    }
}

fn fits(wanted: Option<&str>, is: Option<&str>) -> bool {
    match wanted {
        None | Some("*") => true,
        Some("none") => is.is_none_or(str::is_empty),
        Some(wanted) => {
            // Signals are written with and without SIG, in any case.
            let plain = |name: &str| name.to_lowercase().trim_start_matches("sig").to_owned();
            is.is_some_and(|is| plain(is) == plain(wanted))
        }
    }
}

/// Reads `retry:`.
pub(super) fn read(value: &Value) -> Result<Retry, Refusal> {
    let mut retry = Retry::default();
    let Value::Object(map) = value else {
        return if value.is_null() {
            Ok(retry)
        } else {
            Err(Refusal::unprocessable("`retry` must be a map"))
        };
    };
    if let Some(key) = map
        .keys()
        .find(|key| !["automatic", "manual"].contains(&key.as_str()))
    {
        return Err(Refusal::unprocessable(format!(
            "`retry.{key}` is not a valid property"
        )));
    }
    retry.rules = match map.get("automatic") {
        None | Some(Value::Null | Value::Bool(false)) => Vec::new(),
        Some(Value::Bool(true)) => {
            vec![Rule {
                exit_status: Some(vec!["*".into()]),
                signal: None,
                signal_reason: None,
                limit: 2,
            }]
        }
        Some(Value::Array(rules)) => rules.iter().map(rule).collect::<Result<_, _>>()?,
        Some(one) => vec![rule(one)?],
    };
    match map.get("manual") {
        None | Some(Value::Null | Value::Bool(true)) => {}
        Some(Value::Bool(false)) => retry.manual_allowed = false,
        Some(Value::Object(manual)) => {
            let flag = |name: &str| manual.get(name).and_then(Value::as_bool).unwrap_or(true);
            retry.manual_allowed = flag("allowed");
            retry.manual_on_passed = flag("permit_on_passed");
            retry.manual_reason = manual.get("reason").and_then(text);
        }
        Some(_) => {
            return Err(Refusal::unprocessable(
                "`retry.manual` must be a boolean or a map",
            ));
        }
    }
    Ok(retry)
}

fn rule(value: &Value) -> Result<Rule, Refusal> {
    let Value::Object(map) = value else {
        return Err(Refusal::unprocessable(
            "A rule of `retry.automatic` must be a map",
        ));
    };
    if let Some(key) = map
        .keys()
        .find(|key| !["exit_status", "signal", "signal_reason", "limit"].contains(&key.as_str()))
    {
        return Err(Refusal::unprocessable(format!(
            "`retry.automatic.{key}` is not a valid property"
        )));
    }
    let exit_status = match map.get("exit_status") {
        None | Some(Value::Null) => None,
        Some(Value::Array(statuses)) => Some(statuses.iter().filter_map(text).collect()),
        Some(status) => text(status).map(|status| vec![status]),
    };
    let limit = match map.get("limit") {
        None | Some(Value::Null) => 2,
        Some(limit) => limit
            .as_u64()
            .filter(|limit| *limit <= 10)
            .ok_or_else(|| Refusal::unprocessable("`retry.automatic.limit` must be 0 to 10"))?
            as u32,
    };
    Ok(Rule {
        exit_status,
        signal: map.get("signal").and_then(text),
        signal_reason: map.get("signal_reason").and_then(text),
        limit,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended<'a>(exit_status: &'a str, signal_reason: Option<&'a str>) -> Ended<'a> {
        Ended {
            exit_status,
            signal: None,
            signal_reason,
        }
    }

    #[test]
    fn a_star_never_covers_a_lost_machine() {
        let retry = read(&json!({"automatic": true})).unwrap();
        assert_eq!(retry.rule_for(ended("3", None)), Some((0, 2)));
        assert_eq!(retry.rule_for(ended("-1", None)), None);
        assert_eq!(retry.rule_for(ended("0", None)), None);
    }

    #[test]
    fn the_first_rule_whose_conditions_all_match_wins() {
        let rules = json!({"automatic": [
            {"exit_status": -1, "signal_reason": "stack_error", "limit": 0},
            {"exit_status": -1, "limit": 2},
            {"signal_reason": "agent_stop", "limit": 5},
            {"exit_status": [3, 4], "limit": 1},
        ]});
        let retry = read(&rules).unwrap();
        assert_eq!(retry.rule_for(ended("-1", Some("stack_error"))), Some((0, 0)));
        assert_eq!(retry.rule_for(ended("-1", None)), Some((1, 2)));
        assert_eq!(retry.rule_for(ended("255", Some("agent_stop"))), Some((2, 5)));
        assert_eq!(retry.rule_for(ended("4", None)), Some((3, 1)));
        assert_eq!(retry.rule_for(ended("5", None)), None);
        assert!(read(&json!({"automatic": {"limit": 11}})).is_err());
    }
}
