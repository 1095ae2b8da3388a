//! Which policy a job is under: that of its pipeline in its queue, of its queue, or that of all jobs.

use serde::{Deserialize, Serialize};

use super::allow::fits;
use super::bounds::Says;
use super::policy::Policy;
use crate::ids::{QueueKey, SourceName};

/// What is said of a pipeline in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineRule {
    /// Its slug; with a `*` at the end, all slugs that begin so.
    pub slug: String,
    /// What its jobs may ask for, of what jobs of the queue may.
    pub says: Says,
}

/// What is said of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueRule {
    /// The source it is in; of all sources where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceName>,
    /// Its key.
    pub queue: QueueKey,
    /// What its jobs may ask for, of what all jobs may.
    pub says: Says,
    /// Pipelines in it. Of those that fit a job, the one with the longest slug holds, and a whole one before one with `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipelines: Vec<PipelineRule>,
}

/// A policy with those it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whose jobs: "queue `gust`"; empty for all others.
    pub whose: String,
    /// Their policy.
    pub policy: Policy,
}

/// All policies of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// The first is for all jobs of which no rule speaks.
    all: Vec<Scope>,
    /// Each rule with the place of its scope; those of its pipelines follow in their order.
    rules: Vec<(QueueRule, usize)>,
}

impl Scopes {
    /// The policy of all jobs, and what rules make of it.
    pub fn new(policy: Policy, rules: &[QueueRule]) -> Self {
        let mut all = vec![Scope {
            whose: String::new(),
            policy: policy.clone(),
        }];
        let mut placed = Vec::new();
        let mut add = |whose: String, above: &Policy, says: &Says| {
            let bounds = above.bounds.narrowed(&whose, says);
            let policy = Policy {
                bounds,
                ..above.clone()
            };
            all.push(Scope {
                whose,
                policy: policy.clone(),
            });
            policy
        };
        let mut next = 1;
        for rule in rules {
            let queue = rule.whose();
            let own = add(queue.clone(), &policy, &rule.says);
            for pipeline in &rule.pipelines {
                add(pipeline.whose(&queue), &own, &pipeline.says);
            }
            placed.push((rule.clone(), next));
            next += 1 + rule.pipelines.len();
        }
        Self { all, rules: placed }
    }

    /// All of them; the first is for jobs of which no rule speaks.
    pub fn all(&self) -> &[Scope] {
        &self.all
    }

    /// The place, in [`Scopes::all`], of the one a job is under. A rule that names the source comes before one that does not.
    pub fn of(&self, source: &SourceName, queue: &QueueKey, pipeline: &str) -> usize {
        let fit = self.rules.iter().filter(|(rule, _)| {
            rule.queue == *queue && rule.source.as_ref().is_none_or(|named| named == source)
        });
        let Some((rule, place)) = fit.max_by_key(|(rule, _)| rule.source.is_some()) else {
            return 0;
        };
        let pipelines = rule.pipelines.iter().enumerate();
        let best = pipelines
            .filter(|(_, rule)| fits(&rule.slug, pipeline))
            .max_by_key(|(_, rule)| (!rule.slug.ends_with('*'), rule.slug.len()));
        place + best.map_or(0, |(n, _)| 1 + n)
    }
}

impl QueueRule {
    /// For people: "queue `gust`".
    pub fn whose(&self) -> String {
        match &self.source {
            Some(source) => format!("queue `{}` of source `{source}`", self.queue),
            None => format!("queue `{}`", self.queue),
        }
    }
}

impl PipelineRule {
    /// For people: "pipeline `deploy` in queue `gust`".
    pub fn whose(&self, queue: &str) -> String {
        format!("pipeline `{}` in {queue}", self.slug)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::{Allow, Bound, Cpus, Limits, Models, Request};
    use super::*;

    fn only(names: &[&str]) -> Allow {
        Allow::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn lists<const N: usize>(lists: [(Bound, &[&str]); N]) -> Says {
        Says {
            lists: lists.map(|(bound, names)| (bound, only(names))).into(),
            ..Says::default()
        }
    }

    fn pipeline(slug: &str, says: Says) -> PipelineRule {
        PipelineRule {
            slug: slug.to_owned(),
            says,
        }
    }

    fn queue(source: Option<&str>, says: Says, pipelines: Vec<PipelineRule>) -> QueueRule {
        QueueRule {
            source: source.map(SourceName::new),
            queue: QueueKey::new("gust"),
            says,
            pipelines,
        }
    }

    fn scopes(rules: &[QueueRule]) -> Scopes {
        Scopes::new(Policy::default(), rules)
    }

    fn whose(scopes: &Scopes, source: &str, queue: &str, pipeline: &str) -> String {
        let place = scopes.of(&SourceName::new(source), &QueueKey::new(queue), pipeline);
        scopes.all()[place].whose.clone()
    }

    #[test]
    fn the_most_specific_rule_is_the_one_that_holds() {
        let none = Says::default;
        let scopes = scopes(&[
            queue(Some("b"), none(), vec![]),
            queue(
                None,
                none(),
                vec![
                    pipeline("*", none()),
                    pipeline("deploy-*", none()),
                    pipeline("deploy-prod", none()),
                    pipeline("deploy-prod*", none()),
                    pipeline("deploy-prod-*", none()),
                ],
            ),
        ]);
        for (source, queue, pipeline, holds) in [
            ("a", "other", "deploy-prod", ""),
            ("a", "gust", "monorepo", "pipeline `*` in queue `gust`"),
            ("a", "gust", "", "pipeline `*` in queue `gust`"),
            ("a", "gust", "deploy-test", "pipeline `deploy-*` in queue `gust`"),
            (
                "a",
                "gust",
                "deploy-prod",
                "pipeline `deploy-prod` in queue `gust`",
            ),
            (
                "a",
                "gust",
                "deploy-prod-eu",
                "pipeline `deploy-prod-*` in queue `gust`",
            ),
            ("b", "gust", "deploy-prod", "queue `gust` of source `b`"),
        ] {
            assert_eq!(
                whose(&scopes, source, queue, pipeline),
                holds,
                "{source} {queue} {pipeline}"
            );
        }
    }

    #[test]
    fn a_pipeline_narrows_its_queue_and_widens_only_what_it_says() {
        let mut deploys = lists([
            (Bound::Families, &["c3d", "e2"]),
            (Bound::ServiceAccounts, &["deploy@p.iam"]),
        ]);
        deploys.widens = BTreeSet::from([Bound::ServiceAccounts]);
        deploys.models = Some(Models::OnDemand);
        deploys.limits.max_cpu = Some(Cpus(64));
        let mut all = lists([(Bound::Families, &["n2d", "e2"])]);
        all.limits.max_cpu = Some(Cpus(32));
        let scopes = scopes(&[queue(None, all, vec![pipeline("deploy", deploys)])]);
        let bounds = &scopes.all()[2].policy.bounds;
        assert_eq!(bounds.families, only(&["e2"]));
        assert_eq!(bounds.service_accounts, only(&["deploy@p.iam"]));
        assert_eq!(bounds.models, Models::OnDemand);
        assert_eq!(
            bounds.max_cpu,
            Some(Cpus(32)),
            "a higher limit is no narrower one"
        );
        assert_eq!(scopes.all()[1].policy.bounds.service_accounts, Allow::none());
        assert_eq!(scopes.all()[0].policy, Policy::default());
    }

    #[test]
    fn a_refusal_names_the_list_that_refuses() {
        let mut narrow = lists([
            (Bound::Families, &["e2", "c3d"]),
            (Bound::Zones, &["us-central1-a"]),
            (Bound::DiskTypes, &["pd-*"]),
            (Bound::Images, &["family/ci"]),
            (Bound::Gpus, &["nvidia-t4"]),
        ]);
        narrow.models = Some(Models::OnDemand);
        let mut wide = lists([
            (Bound::Families, &["n2d", "e2"]),
            (Bound::Regions, &["us-central1"]),
        ]);
        wide.limits = Limits {
            max_cpu: Some(Cpus(32)),
            max_local_ssd: Some(0),
            max_run_s: Some(3600),
            ..Limits::default()
        };
        narrow.limits.max_cpu = Some(Cpus(16));
        let scopes = scopes(&[queue(None, wide, vec![pipeline("deploy-*", narrow)])]);
        let refused = |rule: &str| {
            let error = Request::parse(&[rule.to_owned()], &scopes.all()[2].policy);
            error.expect_err(rule).render()
        };
        let all = [
            "family=n2d",
            "family=c3d",
            "family=n4|e2",
            "zone=us-central1-b",
            "zone=us-east4-a",
            "region=us-east4",
            "disk-type=hyperdisk-balanced",
            "image=family/cj",
            "service-account=a@b.c",
            "cache=warm",
            "gpu=nvidia-l4:1",
            "spot=prefer",
            "cpu=17",
            "local-ssd=1",
            "max-run=2h",
        ];
        insta::assert_snapshot!(all.map(refused).join("\n"));
    }

    #[test]
    fn what_a_job_does_not_ask_for_is_within_its_bounds() {
        let mut says = Says {
            models: Some(Models::Spot),
            lists: BTreeMap::new(),
            ..Says::default()
        };
        says.limits = Limits {
            max_memory_mib: Some(super::super::Mib::gib(8)),
            max_disk_gib: Some(super::super::Gib(20)),
            ..Limits::default()
        };
        let scopes = scopes(&[queue(None, says, vec![])]);
        let request = Request::parse(&["cpu=4".to_owned()], &scopes.all()[1].policy).expect("allowed");
        insta::assert_snapshot!(request, @"cpu=4 memory=8 disk=20 arch=amd64 spot=true");
    }
}
