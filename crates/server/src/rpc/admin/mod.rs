//! The admin API: a thin skin over [`crate::leader::Handle`]. Any replica answers; a follower asks the leader.

mod caller;
mod convert;
mod fail;
mod pages;
mod watch;

use std::{pin::Pin, sync::Arc, time::Duration};

use gust_core::{
    catalog::Catalog,
    ids::{JobId, StackName},
    records::Place,
};
use gust_proto::v1::{self, admin_service_client::AdminServiceClient, admin_service_server::AdminService};
use tokio::sync::watch as tokio_watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, transport::Channel};

pub use caller::Callers;

use super::{Forward, forward};
use crate::{
    leader::{Handle, Ordered, of_history},
    replica::Leadership,
    task::Tasks,
};

/// Longest note of an operator, in characters: it is shown in Buildkite beside other words.
const LONGEST_NOTE: usize = 160;

/// How long a leader may think about its status: what the replica knows by itself is better than nothing.
const PATIENCE: Duration = Duration::from_secs(2);
const WAITS: &str =
    "the leader does not answer: its store does not take what it wants to record; see its log";

/// Who answers, for [`AdminRpc`].
#[derive(Clone)]
pub struct Me {
    /// This replica.
    pub replica: gust_core::ids::ReplicaId,
    /// The deployment.
    pub stack: StackName,
    /// What the names of tags begin with.
    pub tag_prefix: String,
    /// Whether it leads, and who does.
    pub leadership: tokio_watch::Receiver<Leadership>,
    /// Whose life the streams share.
    pub tasks: Tasks,
}

/// The admin service of one replica. Cheap to clone.
#[derive(Clone)]
pub struct AdminRpc {
    me: Me,
    leader: Handle,
    forward: Option<Forward>,
    callers: Arc<Callers>,
}

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl AdminRpc {
    /// The service for these callers. `forward` is the way to the leader, where there are other replicas.
    pub fn new(me: Me, leader: Handle, forward: Option<Forward>, callers: Callers) -> Self {
        Self {
            me,
            leader,
            forward,
            callers: Arc::new(callers),
        }
    }

    // The way to the leader if another replica leads, and the request as it is passed on.
    async fn other<T>(&self, request: Request<T>) -> Result<Asked<T>, Status> {
        let by = self.callers.name(&request)?;
        let passed_on = forward::is_marked(&request);
        let message = request.into_inner();
        let channel = match &self.forward {
            None => None,
            Some(forward) => forward
                .leader(passed_on)
                .await
                .map_err(|status| fail::no_leader(&status))?,
        };
        Ok(match channel {
            None => Asked::Here { message, by },
            Some(channel) => {
                let mut request = forward::marked(message);
                caller::sign(&mut request, &by);
                Asked::Elsewhere(Box::new(AdminServiceClient::new(channel)), request)
            }
        })
    }
}

/// Where a request is answered.
enum Asked<T> {
    /// By this replica's leader; `by` is who asks.
    Here { message: T, by: String },
    /// By another replica.
    Elsewhere(Box<AdminServiceClient<Channel>>, Request<T>),
}

/// Answers here, or has the leader answer.
macro_rules! answer {
    ($self:ident, $request:ident, $method:ident, |$message:ident, $by:ident| $here:expr) => {
        match $self.other($request).await? {
            Asked::Elsewhere(mut leader, request) => {
                let response = leader
                    .$method(request)
                    .await
                    .map_err(|status| fail::passed_on(status))?;
                Ok(Response::new(response.into_inner()))
            }
            Asked::Here {
                message: $message,
                by: $by,
            } => $here,
        }
    };
}

#[tonic::async_trait]
impl AdminService for AdminRpc {
    type WatchJobsStream = Answers<v1::WatchJobsResponse>;
    type WatchMachinesStream = Answers<v1::WatchMachinesResponse>;

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let mut status = self.status();
        match self.other(request).await {
            Ok(Asked::Here { .. }) => match self.leader.status(PATIENCE).await {
                Ok(Some(leading)) => status.leading = Some(convert::status(leading)),
                Ok(None) => WAITS.clone_into(&mut status.problem),
                Err(gone) => status.problem = gone.to_string(),
            },
            Ok(Asked::Elsewhere(mut leader, mut request)) => {
                request.set_timeout(PATIENCE * 2);
                match leader.get_status(request).await {
                    Ok(answer) => {
                        let answer = answer.into_inner();
                        (status.leading, status.problem) = (answer.leading, answer.problem);
                    }
                    Err(refused) => {
                        status.problem = format!("the leader did not answer: {}", refused.message());
                    }
                }
            }
            Err(refused) if refused.code() == tonic::Code::Unavailable => {
                refused.message().clone_into(&mut status.problem);
            }
            Err(refused) => return Err(refused),
        }
        Ok(Response::new(status))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        answer!(self, request, list_jobs, |message, _by| {
            let page = pages::jobs(&self.leader, message).await?;
            Ok(Response::new(page))
        })
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        answer!(self, request, get_job, |message, _by| {
            let id = job_id(&message.id)?;
            let story = self.leader.job(id).await.map_err(fail::gone)?;
            let Some(job) = story.job else {
                let history = self.leader.history(id).await.map_err(fail::gone)?;
                let history = history.map_err(|error| fail::store(&error))?;
                let history = history.ok_or_else(|| fail::no_job(id))?;
                return Ok(Response::new(v1::GetJobResponse {
                    job: Some(convert::ended(&history)),
                    machines: Vec::new(),
                    timeline: convert::timeline(of_history(&history, story.timeline)),
                }));
            };
            Ok(Response::new(v1::GetJobResponse {
                job: Some(convert::job(&job)),
                machines: story.machines.iter().map(convert::machine).collect(),
                timeline: convert::timeline(story.timeline),
            }))
        })
    }

    async fn watch_jobs(
        &self,
        request: Request<v1::WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        match self.other(request).await? {
            Asked::Elsewhere(mut leader, request) => {
                let stream = leader.watch_jobs(request).await.map_err(fail::passed_on)?;
                Ok(Response::new(watch::pass_on(stream.into_inner())))
            }
            Asked::Here { message, .. } => {
                let watching = self.leader.watch().await.map_err(fail::gone)?;
                let filter = pages::job_filter(message.filter.unwrap_or_default())?;
                Ok(Response::new(watch::jobs(&self.me.tasks, watching, filter)))
            }
        }
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        answer!(self, request, cancel_job, |message, by| {
            let id = job_id(&message.id)?;
            let ordered = ordered(by, message.note)?;
            let canceled = self.leader.cancel(id, ordered).await.map_err(fail::gone)?;
            let job = canceled.map_err(|refused| fail::cancel(id, &refused))?;
            Ok(Response::new(v1::CancelJobResponse {
                job: Some(convert::job(&job)),
            }))
        })
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        answer!(self, request, explain, |message, _by| {
            let facts = convert::asked(message, &self.me.tag_prefix);
            let found = self.leader.outlook(facts).await.map_err(fail::gone)?;
            let found = found.map_err(|why| fail::field("tags", &why))?;
            Ok(Response::new(v1::ExplainResponse {
                choices: found.iter().map(convert::choice).collect(),
            }))
        })
    }

    async fn list_machines(
        &self,
        request: Request<v1::ListMachinesRequest>,
    ) -> Result<Response<v1::ListMachinesResponse>, Status> {
        answer!(self, request, list_machines, |message, _by| {
            let page = pages::machines(&self.leader, message).await?;
            Ok(Response::new(page))
        })
    }

    async fn watch_machines(
        &self,
        request: Request<v1::WatchMachinesRequest>,
    ) -> Result<Response<Self::WatchMachinesStream>, Status> {
        match self.other(request).await? {
            Asked::Elsewhere(mut leader, request) => {
                let stream = leader.watch_machines(request).await.map_err(fail::passed_on)?;
                Ok(Response::new(watch::pass_on(stream.into_inner())))
            }
            Asked::Here { message, .. } => {
                let watching = self.leader.watch().await.map_err(fail::gone)?;
                let filter = pages::machine_filter(message.filter.unwrap_or_default())?;
                Ok(Response::new(watch::machines(&self.me.tasks, watching, filter)))
            }
        }
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseResponse>, Status> {
        answer!(self, request, pause, |message, by| {
            let ordered = ordered(by, message.note)?;
            let order = self.leader.pause(ordered).await.map_err(fail::gone)?;
            Ok(Response::new(v1::PauseResponse {
                order: Some(convert::order(&order)),
            }))
        })
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        answer!(self, request, resume, |_message, by| {
            let was_paused = self.leader.resume(by).await.map_err(fail::gone)?;
            Ok(Response::new(v1::ResumeResponse { was_paused }))
        })
    }

    async fn cordon(
        &self,
        request: Request<v1::CordonRequest>,
    ) -> Result<Response<v1::CordonResponse>, Status> {
        answer!(self, request, cordon, |message, by| {
            let place = self.place(message.place).await?;
            let ordered = ordered(by, message.note)?;
            let cordoned = self.leader.cordon(place, message.drain, ordered);
            let (cordon, machines) = cordoned.await.map_err(fail::gone)?;
            Ok(Response::new(v1::CordonResponse {
                cordon: Some(convert::cordon(&cordon, machines)),
            }))
        })
    }

    async fn uncordon(
        &self,
        request: Request<v1::UncordonRequest>,
    ) -> Result<Response<v1::UncordonResponse>, Status> {
        answer!(self, request, uncordon, |message, by| {
            let place = self.place(message.place).await?;
            let was_cordoned = self.leader.uncordon(place, by).await.map_err(fail::gone)?;
            Ok(Response::new(v1::UncordonResponse { was_cordoned }))
        })
    }
}

impl AdminRpc {
    fn status(&self) -> v1::GetStatusResponse {
        let (leader, term) = match &*self.me.leadership.borrow() {
            Leadership::Unknown => (String::new(), 0),
            Leadership::Following { leader, term } => (leader.to_string(), term.0),
            Leadership::Leading { term } => (self.me.replica.to_string(), term.0),
        };
        v1::GetStatusResponse {
            replica: self.me.replica.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stack: self.me.stack.to_string(),
            leader,
            term,
            ..v1::GetStatusResponse::default()
        }
    }

    // A place that no configured region has is a slip of the pen: refused, with what there is.
    async fn place(&self, place: Option<v1::Place>) -> Result<Place, Status> {
        let place = convert::place(place)?;
        let places = self.leader.places().await.map_err(fail::gone)?;
        let known = places.iter().any(|(shard, zones)| match &place {
            Place::Shard(wanted) => wanted == shard,
            Place::Zone(zone) => zones.contains(zone),
            Place::Family { zone, .. } => zone.as_ref().is_none_or(|zone| zones.contains(zone)),
        });
        let family = match &place {
            Place::Family { family, .. } => Catalog::builtin().family(family).is_some(),
            Place::Shard(_) | Place::Zone(_) => true,
        };
        if known && family {
            Ok(place)
        } else {
            Err(fail::no_place(&place, &places))
        }
    }
}

fn job_id(text: &str) -> Result<JobId, Status> {
    uuid::Uuid::parse_str(text)
        .map(JobId)
        .map_err(|_| fail::field("id", "is no UUID of a Buildkite job"))
}

fn ordered(by: String, note: String) -> Result<Ordered, Status> {
    if note.chars().count() > LONGEST_NOTE {
        return Err(fail::field(
            "note",
            &format!("is longer than {LONGEST_NOTE} characters"),
        ));
    }
    if note.chars().any(char::is_control) {
        return Err(fail::field(
            "note",
            "contains a line break or another control character",
        ));
    }
    Ok(Ordered { by, note })
}
