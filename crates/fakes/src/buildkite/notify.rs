//! Notifications: what a stack tells on a job's timeline.

use std::time::Duration;

use super::ids::Refusal;
use super::model::Model;
use super::timeline::{Moment, What};
use crate::event::{Effects, Event, Host};
use crate::now::Now;
use crate::stamp::{parse_rfc3339, rfc3339};

/// One message of a stack about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The job's UUID, as sent.
    pub job: String,
    /// The message.
    pub detail: String,
    /// When it happened, RFC 3339; the present where the request had none.
    pub timestamp: Option<String>,
}

/// What was wrong with some of the notifications of a request; the others were kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationError {
    /// The message.
    pub error: String,
    /// Places in the request.
    pub indexes: Vec<usize>,
}

impl Model {
    /// Keeps notifications; those that are wrong are reported by place, and do not hinder the others.
    pub fn notify(
        &mut self,
        now: Now,
        cluster: usize,
        stack: &str,
        notifications: &[Notification],
        out: &mut Effects,
    ) -> Result<Vec<NotificationError>, Refusal> {
        self.stack(cluster, stack)?;
        if notifications.len() > self.limits.batch_max {
            let max = self.limits.batch_max;
            return Err(Refusal::unprocessable(format!(
                "notifications must have at most {max} entries"
            )));
        }
        let mut errors: Vec<NotificationError> = Vec::new();
        for (index, notification) in notifications.iter().enumerate() {
            if let Err(error) = self.notify_one(now, cluster, stack, notification, out) {
                match errors.iter_mut().find(|known| known.error == error) {
                    Some(known) => known.indexes.push(index),
                    None => errors.push(NotificationError {
                        error,
                        indexes: vec![index],
                    }),
                }
            }
        }
        Ok(errors)
    }

    fn notify_one(
        &mut self,
        now: Now,
        cluster: usize,
        stack: &str,
        notification: &Notification,
        out: &mut Effects,
    ) -> Result<(), String> {
        let key = self
            .job_in_cluster(cluster, &notification.job)
            .ok_or("job not found")?;
        if notification.detail.is_empty() {
            return Err("detail is required".into());
        }
        if notification.detail.chars().count() > self.limits.notification_chars {
            return Err(format!(
                "detail is too long (maximum is {} characters)",
                self.limits.notification_chars
            ));
        }
        let job = &self.jobs[key.0];
        let at = match &notification.timestamp {
            None => now.unix_ns,
            Some(text) => parse_rfc3339(text).ok_or("timestamp is not an ISO 8601 timestamp")?,
        };
        if at > now.unix_ns {
            return Err("timestamp must not be in the future".into());
        }
        // What goes out of this fake has milliseconds, so a client cannot know the creation more exactly.
        if at / 1_000_000 < job.created_at / 1_000_000 {
            return Err("timestamp must not be before the job was created".into());
        }
        let open = Duration::from_secs(self.limits.notification_after_finish_s.into());
        if job.ended.is_some_and(|ended| ended + open < now.since_start) {
            return Err("job has finished too long ago".into());
        }
        if job.notifications.len() >= self.limits.notifications_per_job {
            return Err("job stack notification count exceeded".into());
        }
        let timestamp = rfc3339(at);
        out.push(
            Event::new(Host::Buildkite, "job.notified")
                .with("job", job.uuid.to_string())
                .with("stack", stack)
                .with("detail", notification.detail.clone())
                .with("timestamp", timestamp.clone()),
        );
        let kept = Notification {
            job: job.uuid.to_string(),
            detail: notification.detail.clone(),
            timestamp: Some(timestamp),
        };
        let job = &mut self.jobs[key.0];
        job.timeline.push(Moment {
            at,
            what: What::Notified(job.notifications.len()),
        });
        job.notifications.push(kept);
        Ok(())
    }
}
