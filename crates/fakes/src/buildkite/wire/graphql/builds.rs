//! Builds and their annotations.

use serde_json::{Value, json};
use uuid::Uuid;

use super::connection::{self, List};
use super::thing::{Answer, Args, Out, Site, Thing};
use crate::buildkite::build::Build;
use crate::buildkite::extras::Annotation;
use crate::buildkite::ids::{BuildKey, JobKey, Refusal};
use crate::buildkite::model::Model;
use crate::stamp::{parse_rfc3339, rfc3339};

impl Site<'_> {
    /// Builds of a pipeline, newest first.
    pub(super) fn builds(&self, args: Args<'_>, pipeline: &str) -> Answer {
        let model = self.model.borrow();
        let (branches, states) = (args.texts("branch"), args.texts("state"));
        let (commits, meta_data) = (args.texts("commit"), args.texts("metaData"));
        let time = |name: &str| args.text(name).and_then(parse_rfc3339);
        let (from, to) = (time("createdAtFrom"), time("createdAtTo"));
        let meets = |build: &Build| {
            let state = model.shown_state(build);
            build.pipeline == pipeline
                && branches
                    .as_ref()
                    .is_none_or(|known| known.contains(&build.branch.as_str()))
                && commits
                    .as_ref()
                    .is_none_or(|known| known.contains(&build.commit.as_str()))
                && states
                    .as_ref()
                    .is_none_or(|known| known.iter().any(|is| is.eq_ignore_ascii_case(state)))
                && from.is_none_or(|from| build.created_at >= from)
                && to.is_none_or(|to| build.created_at <= to)
                && meta_data
                    .iter()
                    .flatten()
                    .all(|wanted| has_meta_data(build, wanted))
        };
        let found = model.builds.iter().filter(|build| meets(build));
        let found = found.map(|build| {
            (
                u128::from(build.number),
                Thing::Build(BuildKey(build.number as usize - 1)),
            )
        });
        List::newest_first(connection::BUILDS, found).page(args)
    }

    pub(super) fn build(&self, key: BuildKey, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        match field {
            "jobs" => {
                return self
                    .jobs(args, |_, job| job.build == key, |_, build| build == key)
                    .map(Some);
            }
            "annotations" => return self.annotations(key, None, args).map(Some),
            _ => {}
        }
        let model = self.model.borrow();
        let build = &model.builds[key.0];
        Ok(Some(match field {
            "id" => Out::id("Build", build.uuid),
            "organization" => Out::One(Thing::Organization),
            "pipeline" => Out::maybe(model.pipelines.get_index_of(&build.pipeline).map(Thing::Pipeline)),
            "createdBy" => Out::One(Thing::User(0)),
            "canceledBy" => Out::maybe(build.canceled_at.map(|_| Thing::User(0))),
            "metaData" => {
                let pairs = build.meta_data.iter().map(|(key, value)| {
                    let fields = vec![
                        ("key", Out::leaf(key.clone())),
                        ("value", Out::leaf(value.clone())),
                    ];
                    Thing::Record("BuildMetaData", fields)
                });
                List::in_order(connection::META_DATA, pairs).page(args)?
            }
            _ => return Ok(leaf(&model, build, field).map(Out::Leaf)),
        }))
    }

    /// Annotations of a build with what the arguments say; with a job only those of its own.
    pub(super) fn annotations(&self, key: BuildKey, job: Option<JobKey>, args: Args<'_>) -> Answer {
        let model = self.model.borrow();
        let (scopes, styles) = (args.texts("scope"), args.texts("style"));
        let meets = |note: &Annotation| {
            job.is_none_or(|job| note.scope == "job" && note.jobs.contains(&job))
                && scopes
                    .as_ref()
                    .is_none_or(|known| known.contains(&note.scope.to_uppercase().as_str()))
                && styles
                    .as_ref()
                    .is_none_or(|known| known.contains(&style(note).as_str()))
        };
        let found = model.builds[key.0]
            .annotations
            .iter()
            .enumerate()
            .filter(|(_, note)| meets(note));
        // 1 to 10, and 10 comes first.
        let by_priority = args.text("order") == Some("PRIORITY_RECENTLY_CREATED");
        let place = |at: usize, note: &Annotation| {
            let priority = if by_priority {
                note.priority.max(0) as u128
            } else {
                0
            };
            priority << 64 | at as u128
        };
        let found = found.map(|(at, note)| (place(at, note), Thing::Annotation(key, note.uuid)));
        List::newest_first(connection::ANNOTATIONS, found).page(args)
    }

    pub(super) fn annotation(&self, key: BuildKey, uuid: Uuid, field: &str) -> Option<Out> {
        let model = self.model.borrow();
        let note = model.builds[key.0]
            .annotations
            .iter()
            .find(|note| note.uuid == uuid)?;
        Some(match field {
            "id" => Out::id("Annotation", note.uuid),
            "uuid" => Out::leaf(note.uuid.to_string()),
            "context" => Out::leaf(note.context.clone()),
            "priority" => Out::leaf(note.priority),
            "scope" => Out::leaf(note.scope.to_uppercase()),
            "style" => Out::leaf(style(note)),
            "createdAt" => Out::time(Some(note.created_at)),
            "updatedAt" => Out::time(Some(note.updated_at)),
            "body" => Out::One(Thing::Record(
                "AnnotationBody",
                vec![
                    ("text", Out::leaf(note.body.clone())),
                    (
                        "html",
                        Out::leaf(crate::buildkite::wire::markdown::html(&note.body)),
                    ),
                ],
            )),
            _ => return None,
        })
    }
}

fn style(note: &Annotation) -> String {
    note.style.as_deref().unwrap_or("default").to_uppercase()
}

fn has_meta_data(build: &Build, wanted: &str) -> bool {
    let (key, value) = wanted.split_once(':').unwrap_or((wanted, ""));
    build
        .meta_data
        .get(key)
        .is_some_and(|is| value.is_empty() || is == value)
}

fn leaf(model: &Model, build: &Build, field: &str) -> Option<Value> {
    let time = |at: Option<i128>| json!(at.map(rfc3339));
    Some(match field {
        "uuid" => json!(build.uuid),
        "number" => json!(build.number),
        "branch" => json!(build.branch),
        "commit" => json!(build.commit),
        "message" => json!(build.message),
        "blockedState" => {
            let key = BuildKey(build.number as usize - 1);
            json!(model.is_blocked(key).map(str::to_uppercase))
        }
        "cancelReason" => Value::Null,
        "failingAt" => time(build.failing_at),
        "canceledAt" => time(build.canceled_at),
        "createdAt" | "scheduledAt" => time(Some(build.created_at)),
        "startedAt" => time(build.started_at),
        "finishedAt" => time(build.finished_at),
        "env" => json!(
            build
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        ),
        "state" => json!(model.shown_state(build).to_uppercase()),
        "url" => json!(model.build_url(build)),
        _ => return None,
    })
}
