//! What people are told on a job, where there are no notifications: one annotation, over the REST API
//! (docs: `apis/rest_api/annotations`).

use gust_core::ids::JobId;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use super::GraphqlSource;
use crate::{
    client::Call,
    error::{Error, Remedy},
    scope::Scope,
};

/// The context of the annotation that shows a job's progress, among the annotations of that job.
const CONTEXT: &str = "gust";

/// How an annotation looks.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Info,
    Error,
}

impl GraphqlSource {
    /// Shows a text on a job, in place of the one before. Where jobs have no annotations of their own it stands on the build.
    pub(super) async fn annotate(&self, job: JobId, style: Style, text: &str) -> Result<(), Error> {
        let id = job.to_string();
        let on_job = ["organizations", &*self.organization, "jobs", &*id, "annotations"];
        let Err(error) = self.annotate_at(&on_job, CONTEXT, style, text).await else {
            return Ok(());
        };
        let facts = self.seen().facts.get(&job).cloned();
        let Some(facts) = facts.filter(|facts| !facts.pipeline.is_empty() && error.remedy() == Remedy::Gone)
        else {
            return Err(error);
        };
        let build = facts.build.to_string();
        let (context, step) = (format!("{CONTEXT}-{job}"), facts.step.as_deref().unwrap_or(&id));
        let on_build = [
            "organizations",
            &*self.organization,
            "pipelines",
            &*facts.pipeline,
            "builds",
            &*build,
            "annotations",
        ];
        let text = format!("{}: {text}", escape(step));
        self.annotate_at(&on_build, &context, style, &text).await
    }

    async fn annotate_at(&self, path: &[&str], context: &str, style: Style, text: &str) -> Result<(), Error> {
        let style = match style {
            Style::Info => "info",
            Style::Error => "error",
        };
        let body = json!({ "body": text, "context": context, "style": style, "append": false });
        let call = Call {
            scope: Scope::RestAnnotate,
            method: Method::POST,
            path,
            query: &[],
            body: Some(body.to_string().into_bytes()),
        };
        let deadline = Instant::now() + self.patience.writes;
        self.rest.send(call, deadline, |_| Ok(())).await.result
    }
}

/// A text that Markdown shows as it is: with its lines, and not as HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\n', "  \n")
}
