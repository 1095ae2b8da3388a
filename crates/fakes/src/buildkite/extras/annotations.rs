//! Annotations of a build or a job.

use uuid::Uuid;

use crate::buildkite::ids::{JobKey, Refusal};
use crate::buildkite::model::Model;
use crate::event::{Effects, Event, Host};

/// An annotation as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
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
    /// Writes an annotation.
    pub fn annotate(
        &mut self,
        token: &str,
        job: Uuid,
        new: NewAnnotation,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.job_of_token(token, job)?;
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
        let build = self.jobs[key.0].build;
        let annotations = &mut self.builds[build.0].annotations;
        let place = annotations
            .iter()
            .position(|known| known.is(&context, &scope, key));
        let before = place
            .filter(|_| new.append)
            .map_or(0, |place| annotations[place].body.len());
        if before + body.len() > limit {
            return Err(Refusal::unprocessable(format!(
                "The annotation body must be less than {limit} bytes"
            )));
        }
        out.push(
            Event::new(Host::Buildkite, "job.annotated")
                .with("job", job.to_string())
                .with("context", context.clone())
                .with("bytes", before + body.len())
                .with("scope", scope.clone()),
        );
        match place {
            Some(place) => {
                let known = &mut annotations[place];
                known.body = if new.append {
                    format!("{}{body}", known.body)
                } else {
                    body
                };
                known.style = style.or_else(|| known.style.take());
                known.priority = priority;
                if !known.jobs.contains(&key) {
                    known.jobs.push(key);
                }
            }
            None => annotations.push(Annotation {
                context,
                scope,
                style,
                body,
                priority,
                jobs: vec![key],
            }),
        }
        Ok(())
    }

    /// Removes an annotation.
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
        let annotations = &mut self.builds[build.0].annotations;
        let place = annotations.iter().position(|known| known.is(context, scope, key));
        let place = place.ok_or_else(|| Refusal::not_found("annotation"))?;
        annotations.remove(place);
        out.push(
            Event::new(Host::Buildkite, "job.annotated")
                .with("job", job.to_string())
                .with("context", context)
                .with("bytes", 0)
                .with("scope", scope),
        );
        Ok(())
    }
}

impl Annotation {
    fn is(&self, context: &str, scope: &str, job: JobKey) -> bool {
        self.context == context && self.scope == scope && (scope == "build" || self.jobs.contains(&job))
    }
}
