//! Reading a page of the list, as far as it can be read.

use gust_core::{
    ids::{JobId, QueueKey},
    ports::{ListedJob, Listing},
    records::JobFacts,
    time::Timestamp,
};

use crate::{
    error::{BadBody, Error},
    reply::{self, Reply},
    wire,
};

/// Jobs and the mark of the next page. An entry that cannot be read is left out, and logged.
pub(super) fn read_listing(queue: &QueueKey, reply: &Reply) -> Result<Listing, Error> {
    // The usual case in one go; entry by entry only where one of them is odd.
    let (jobs, page_info, cluster_queue) =
        match reply::decode::<wire::ListReply<wire::ListedJob>>(&reply.body) {
            Ok(list) => (list.jobs, list.page_info, list.cluster_queue),
            Err(BadBody::Json(_)) => {
                let list: wire::ListReply<serde_json::Value> = reply.json()?;
                let (jobs, unreadable) = wire::read_jobs(list.jobs);
                for (job, cause) in unreadable {
                    tracing::warn!(job, error = %cause, "a listed job is in a form that cannot be read");
                }
                (jobs, list.page_info, list.cluster_queue)
            }
            Err(source) => {
                return Err(Error::Body {
                    scope: reply.scope,
                    status: reply.status,
                    source,
                });
            }
        };
    // The list is ordered by `scheduled_at`, so for a job without times the one before it is the best guess.
    let mut before = Timestamp::default();
    let listed = |job: wire::ListedJob| {
        let runnable_at = job.runnable_at.or(job.scheduled_at).unwrap_or(before);
        before = job.scheduled_at.unwrap_or(before);
        let facts = JobFacts {
            queue: queue.clone(),
            rules: job.agent_query_rules,
            priority: job.priority,
            pipeline: job.pipeline.slug,
            build: job.build.number,
            branch: job.build.branch,
            step: job.step.key,
            runnable_at,
        };
        ListedJob {
            id: JobId(job.id),
            facts,
        }
    };
    let jobs = jobs.into_iter().map(listed).collect();
    Ok(Listing {
        jobs,
        next: page_info.next(),
        paused: cluster_queue.is_paused(),
    })
}
