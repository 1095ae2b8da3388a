//! Annotations of a build or a job.

use uuid::Uuid;

use crate::buildkite::ids::{BuildKey, JobKey, Refusal};
use crate::buildkite::model::Model;
use crate::event::{Effects, Event, Host};
use crate::now::Now;

/// An annotation as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its context: one annotation for each context (and job, with scope `job`).
    pub context: String,
    /// `build` or `job`.
    pub scope: String,
    /// `success`, `info`, `warning`, `error`; none if the job gave none.
    pub style: Option<String>,
    /// The text, Markdown.
    pub body: String,
    /// 1 to 10.
    pub priority: i64,
    /// Wall time, nanoseconds since the epoch.
    pub created_at: i128,
    /// Wall time of the last change.
    pub updated_at: i128,
    /// Jobs that wrote it, the first one first.
    pub(in crate::buildkite) jobs: Vec<JobKey>,
}

/// An annotation as a job sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAnnotation {
    /// Absent where the body was empty.
    pub body: Option<String>,
    /// `default` where absent.
    pub context: Option<String>,
    /// See [`Annotation::style`].
    pub style: Option<String>,
    /// Adds to the body instead of replacing it.
    pub append: bool,
    /// 3 where absent.
    pub priority: Option<i64>,
    /// `build` where absent.
    pub scope: Option<String>,
}

const STYLES: [&str; 4] = ["success", "info", "warning", "error"];

impl Model {
    /// A running job writes an annotation.
    pub fn annotate(
        &mut self,
        now: Now,
        token: &str,
        job: Uuid,
        new: NewAnnotation,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        let build = self.jobs[key.0].build;
        self.annotate_build(now, build, Some(key), new, out).map(|_| ())
    }

    /// Writes an annotation of a build, or of one of its jobs; returns its place among the build's.
    pub(in crate::buildkite) fn annotate_build(
        &mut self,
        now: Now,
        build: BuildKey,
        job: Option<JobKey>,
        new: NewAnnotation,
        out: &mut Effects,
    ) -> Result<usize, Refusal> {
        let scope = new.scope.unwrap_or_else(|| "build".into());
        if !["build", "job"].contains(&scope.as_str()) {
            return Err(Refusal::unprocessable("scope must be build or job"));
        }
        let style = new.style.filter(|style| !style.is_empty());
        if style
            .as_ref()
            .is_some_and(|style| !STYLES.contains(&style.as_str()))
        {
            return Err(Refusal::unprocessable(
                "style must be success, info, warning or error",
            ));
        }
        let priority = new.priority.unwrap_or(3);
        if !(1..=10).contains(&priority) {
            return Err(Refusal::unprocessable("priority must be 1 to 10"));
        }
        let context = new
            .context
            .filter(|context| !context.is_empty())
            .unwrap_or_else(|| "default".into());
        let body = new.body.unwrap_or_default();
        let limit = self.limits.annotation_max_bytes;
        let uuid = self.annotation_uuid(build, &context, &scope, job);
        let told = self.tell_annotation(build, job, &context);
        let annotations = &mut self.builds[build.0].annotations;
        let place = annotations.iter().position(|known| known.uuid == uuid);
        let before = place
            .filter(|_| new.append)
            .map_or(0, |place| annotations[place].body.len());
        if before + body.len() > limit {
            return Err(Refusal::unprocessable(format!(
                "The annotation body must be less than {limit} bytes"
            )));
        }
        out.push(
            told.with("bytes", before + body.len())
                .with("scope", scope.clone()),
        );
        Ok(match place {
            Some(place) => {
                let known = &mut annotations[place];
                known.body = if new.append {
                    format!("{}{body}", known.body)
                } else {
                    body
                };
                known.style = style.or_else(|| known.style.take());
                known.priority = priority;
                known.updated_at = now.unix_ns;
                known.jobs.extend(job.filter(|job| !known.jobs.contains(job)));
                place
            }
            None => {
                annotations.push(Annotation {
                    uuid,
                    context,
                    scope,
                    style,
                    body,
                    priority,
                    created_at: now.unix_ns,
                    updated_at: now.unix_ns,
                    jobs: job.into_iter().collect(),
                });
                annotations.len() - 1
            }
        })
    }

    /// The same annotation always has the same UUID: what it is of, its context, its scope.
    fn annotation_uuid(&self, build: BuildKey, context: &str, scope: &str, job: Option<JobKey>) -> Uuid {
        let of = match job.filter(|_| scope == "job") {
            Some(job) => self.jobs[job.0].uuid,
            None => self.builds[build.0].uuid,
        };
        Uuid::new_v5(&of, context.as_bytes())
    }

    fn tell_annotation(&self, build: BuildKey, job: Option<JobKey>, context: &str) -> Event {
        let event = Event::new(Host::Buildkite, "job.annotated");
        let event = match job {
            Some(job) => event.with("job", self.jobs[job.0].uuid.to_string()),
            None => event.with("build", self.builds[build.0].number),
        };
        event.with("context", context)
    }

    /// A running job removes an annotation.
    pub fn remove_annotation(
        &mut self,
        token: &str,
        job: Uuid,
        context: &str,
        scope: &str,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
        let build = self.jobs[key.0].build;
        let uuid = self.annotation_uuid(build, context, scope, Some(key));
        self.delete_annotation(build, uuid, Some(key), out)
    }

    /// Removes an annotation of a build by its UUID.
    pub(in crate::buildkite) fn delete_annotation(
        &mut self,
        build: BuildKey,
        uuid: Uuid,
        job: Option<JobKey>,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let annotations = &mut self.builds[build.0].annotations;
        let place = annotations.iter().position(|known| known.uuid == uuid);
        let place = place.ok_or_else(|| Refusal::not_found("annotation"))?;
        let old = annotations.remove(place);
        let told = self.tell_annotation(build, job, &old.context);
        out.push(told.with("bytes", 0).with("scope", old.scope));
        Ok(())
    }
}
