//! What conditions see of a build.

use super::condition::{Facts, Value, is_visible};
use super::ids::BuildKey;
use super::model::Model;

/// Variables that are set, and empty, in builds of this fake.
const EMPTY: [&str; 9] = [
    "BUILDKITE_TAG",
    "BUILDKITE_PULL_REQUEST_BASE_BRANCH",
    "BUILDKITE_PULL_REQUEST_REPO",
    "BUILDKITE_PULL_REQUEST_USING_MERGE_REFSPEC",
    "BUILDKITE_MERGE_QUEUE_BASE_BRANCH",
    "BUILDKITE_MERGE_QUEUE_BASE_COMMIT",
    "BUILDKITE_REBUILT_FROM_BUILD_ID",
    "BUILDKITE_REBUILT_FROM_BUILD_NUMBER",
    "BUILDKITE_GIT_DIFF_BASE",
];

/// A build, for conditions.
pub(super) struct BuildFacts<'a> {
    pub(super) model: &'a Model,
    pub(super) build: BuildKey,
}

impl Facts for BuildFacts<'_> {
    fn variable(&self, name: &str) -> Value {
        let (model, build) = (self.model, &self.model.builds[self.build.0]);
        let text = |text: String| Value::Text(text);
        let user = |field: &str| {
            let user = model.rest_user(0);
            Value::from(user[field].as_str().map(str::to_owned))
        };
        match name {
            "build.id" => text(build.uuid.to_string()),
            "build.number" => Value::Number(i64::try_from(build.number).unwrap_or(i64::MAX)),
            "build.branch" => text(build.branch.clone()),
            "build.commit" => text(build.commit.clone()),
            "build.message" => build.message.clone().filter(|text| !text.is_empty()).into(),
            "build.source" => text(build.source().to_owned()),
            "build.state" => text(model.shown_state(build).to_owned()),
            // The first user makes all builds, and is the author of what they build.
            "build.creator.id" | "build.author.id" => user("id"),
            "build.creator.name" | "build.author.name" => user("name"),
            "build.creator.email" | "build.author.email" => user("email"),
            "build.creator.verified" => Value::Flag(true),
            "build.creator.teams" | "build.author.teams" | "build.pull_request.labels" => {
                Value::Texts(Vec::new())
            }
            "pipeline.id" => text(build.pipeline_uuid.to_string()),
            "pipeline.slug" => text(build.pipeline.clone()),
            "pipeline.default_branch" => text("main".to_owned()),
            "pipeline.repository" => text(model.config.repository.clone()),
            "pipeline.started_failing" | "pipeline.started_passing" => Value::Flag(false),
            "organization.id" => text(model.organization.to_string()),
            "organization.slug" => text(model.config.organization.clone()),
            // Builds here have no tag, pull request, merge queue or event.
            _ => Value::Null,
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        let (model, build) = (self.model, &self.model.builds[self.build.0]);
        if !is_visible(name) {
            return None;
        }
        Some(match name {
            "BUILDKITE_BRANCH" => build.branch.clone(),
            "BUILDKITE_COMMIT" => build.commit.clone(),
            "BUILDKITE_MESSAGE" => build.message_text(),
            "BUILDKITE_REPO" => model.config.repository.clone(),
            "BUILDKITE_PIPELINE_SLUG" | "BUILDKITE_PIPELINE_NAME" => build.pipeline.clone(),
            "BUILDKITE_PIPELINE_ID" => build.pipeline_uuid.to_string(),
            "BUILDKITE_ORGANIZATION_SLUG" => model.config.organization.clone(),
            "BUILDKITE_PULL_REQUEST" => "false".to_owned(),
            _ if EMPTY.contains(&name) => String::new(),
            _ => {
                let origin = model
                    .origin_env(build)
                    .into_iter()
                    .find(|(known, _)| *known == name);
                return origin
                    .map(|(_, value)| value)
                    .or_else(|| build.env.get(name).cloned());
            }
        })
    }
}
