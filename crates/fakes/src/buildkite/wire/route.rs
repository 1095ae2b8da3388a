//! Paths and the calls behind them, with the names that `api.call` and faults use.

use super::rest::{self, RestCall};

/// A call of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call<'a> {
    /// The Stacks API; the stack's key but for `register`.
    Stack(Option<String>, StackCall<'a>),
    /// An agent about itself, and what any agent token can ask.
    Agent(AgentCall),
    /// About a job.
    Job(&'a str, JobCall<'a>),
    /// About a build.
    Build(&'a str, BuildCall),
    /// About a step.
    Step(&'a str, StepCall),
    /// Where artifacts are stored: no authorization.
    Store(StoreCall<'a>),
    /// The GraphQL API; what is meant is in the body.
    GraphQl,
    /// The REST API, and the organization in the path.
    Rest(Option<&'a str>, RestCall<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StackCall<'a> {
    Register,
    Deregister,
    List,
    Reserve,
    GetJob(&'a str),
    GetStates,
    Finish(&'a str),
    Notify,
    AcquisitionTokens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentCall {
    Register,
    Connect,
    Heartbeat,
    Ping,
    Disconnect,
    Stop,
    Pause,
    Resume,
    Token,
    Metrics,
    QueueMetrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobCall<'a> {
    Acquire,
    Start,
    Chunk,
    Get,
    Update,
    Finish,
    HeaderTimes,
    Annotate,
    RemoveAnnotation(&'a str),
    Data(DataCall),
    CreateArtifacts,
    UpdateArtifacts,
    Upload,
    UploadState(&'a str),
    Oidc,
    Secret,
    PromiseFailure,
    RepositoryToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataCall {
    Set,
    SetBatch,
    Get,
    Exists,
    Keys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BuildCall {
    Data(DataCall),
    SearchArtifacts,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepCall {
    Export,
    Update,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreCall<'a> {
    Form,
    Part(&'a str, &'a str),
    Download(&'a str),
}

impl Call<'_> {
    /// The name in `api.call` and for the `method` of faults.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Stack(_, call) => match call {
                StackCall::Register => "stacks.register",
                StackCall::Deregister => "stacks.deregister",
                StackCall::List => "stacks.list",
                StackCall::Reserve => "stacks.reserve",
                StackCall::GetJob(_) => "stacks.get-job",
                StackCall::GetStates => "stacks.get-states",
                StackCall::Finish(_) => "stacks.finish",
                StackCall::Notify => "stacks.notify",
                StackCall::AcquisitionTokens => "stacks.acquisition-tokens",
            },
            Self::Agent(call) => match call {
                AgentCall::Register => "agent.register",
                AgentCall::Connect => "agent.connect",
                AgentCall::Heartbeat => "agent.heartbeat",
                AgentCall::Ping => "agent.ping",
                AgentCall::Disconnect => "agent.disconnect",
                AgentCall::Stop => "agent.stop",
                AgentCall::Pause => "agent.pause",
                AgentCall::Resume => "agent.resume",
                AgentCall::Token => "agent.token",
                AgentCall::Metrics => "agent.metrics",
                AgentCall::QueueMetrics => "agent.queue-metrics",
            },
            Self::Job(_, call) => match call {
                JobCall::Acquire => "agent.acquire",
                JobCall::Start => "agent.start",
                JobCall::Chunk => "agent.chunk",
                JobCall::Get => "agent.job-state",
                JobCall::Finish => "agent.finish",
                JobCall::Update => "job.update",
                JobCall::HeaderTimes => "job.header-times",
                JobCall::Annotate => "job.annotate",
                JobCall::RemoveAnnotation(_) => "job.remove-annotation",
                JobCall::Data(call) => call.name(),
                JobCall::CreateArtifacts => "job.create-artifacts",
                JobCall::UpdateArtifacts => "job.update-artifacts",
                JobCall::Upload => "job.pipeline-upload",
                JobCall::UploadState(_) => "job.pipeline-upload-state",
                JobCall::Oidc => "job.oidc-token",
                JobCall::Secret => "job.secret",
                JobCall::PromiseFailure => "job.promise-failure",
                JobCall::RepositoryToken => "job.repository-token",
            },
            Self::Build(_, call) => match call {
                BuildCall::Data(call) => call.name(),
                BuildCall::SearchArtifacts => "build.search-artifacts",
                BuildCall::Cancel => "build.cancel",
            },
            Self::Step(_, call) => match call {
                StepCall::Export => "step.export",
                StepCall::Update => "step.update",
                StepCall::Cancel => "step.cancel",
            },
            Self::GraphQl => "graphql",
            Self::Rest(_, call) => call.name(),
            Self::Store(call) => match call {
                StoreCall::Form => "artifact.upload-form",
                StoreCall::Part(..) => "artifact.upload-part",
                StoreCall::Download(_) => "artifact.download",
            },
        }
    }
}

impl DataCall {
    fn name(self) -> &'static str {
        match self {
            Self::Set => "meta-data.set",
            Self::SetBatch => "meta-data.set-batch",
            Self::Get => "meta-data.get",
            Self::Exists => "meta-data.exists",
            Self::Keys => "meta-data.keys",
        }
    }

    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "set" => Self::Set,
            "set-batch" => Self::SetBatch,
            "get" => Self::Get,
            "exists" => Self::Exists,
            "keys" => Self::Keys,
            _ => return None,
        })
    }
}

/// The call of a request; `None` for a path or method that does not exist.
pub(super) fn route<'a>(method: &str, segments: &[&'a str]) -> Option<Call<'a>> {
    Some(match (method, segments) {
        ("POST", ["uploads", "form"]) => Call::Store(StoreCall::Form),
        ("PUT", ["uploads", artifact, part]) => Call::Store(StoreCall::Part(artifact, part)),
        ("GET", ["artifacts", artifact]) => Call::Store(StoreCall::Download(artifact)),
        ("POST", ["v1"] | ["v1", ""]) => Call::GraphQl,
        (method, ["v3", rest @ ..]) => route_v3(method, rest)?,
        (method, ["v2", rest @ ..]) => {
            let (organization, call) = rest::route(method, rest)?;
            Call::Rest(organization, call)
        }
        _ => return None,
    })
}

fn route_v3<'a>(method: &str, segments: &[&'a str]) -> Option<Call<'a>> {
    let agent = |call| Some(Call::Agent(call));
    match (method, segments) {
        ("GET", ["token"]) => agent(AgentCall::Token),
        ("GET", ["metrics"]) => agent(AgentCall::Metrics),
        ("GET", ["metrics", "queue"]) => agent(AgentCall::QueueMetrics),
        ("POST", ["register"]) => agent(AgentCall::Register),
        ("POST", ["connect"]) => agent(AgentCall::Connect),
        ("POST", ["heartbeat"]) => agent(AgentCall::Heartbeat),
        ("GET", ["ping"]) => agent(AgentCall::Ping),
        ("POST", ["disconnect"]) => agent(AgentCall::Disconnect),
        ("POST", ["stop"]) => agent(AgentCall::Stop),
        ("POST", ["pause"]) => agent(AgentCall::Pause),
        ("POST", ["resume"]) => agent(AgentCall::Resume),
        (method, ["stacks", rest @ ..]) => stack(method, rest),
        (method, ["jobs", job, rest @ ..]) => Some(Call::Job(job, job_call(method, rest)?)),
        (method, ["builds", build, rest @ ..]) => {
            let call = match (method, rest) {
                ("POST", ["cancel"]) => BuildCall::Cancel,
                ("GET", ["artifacts", "search"]) => BuildCall::SearchArtifacts,
                // Only the reading calls exist for builds.
                ("POST", ["data", name]) => match DataCall::read(name)? {
                    DataCall::Set | DataCall::SetBatch => return None,
                    call => BuildCall::Data(call),
                },
                _ => return None,
            };
            Some(Call::Build(build, call))
        }
        ("POST", ["steps", step, "export"]) => Some(Call::Step(step, StepCall::Export)),
        ("PUT", ["steps", step]) => Some(Call::Step(step, StepCall::Update)),
        ("POST", ["steps", step, "cancel"]) => Some(Call::Step(step, StepCall::Cancel)),
        _ => None,
    }
}

fn stack<'a>(method: &str, segments: &[&'a str]) -> Option<Call<'a>> {
    let (key, call) = match (method, segments) {
        ("POST", ["register"]) => return Some(Call::Stack(None, StackCall::Register)),
        ("POST", [key, "deregister"]) => (key, StackCall::Deregister),
        ("GET", [key, "scheduled-jobs"]) => (key, StackCall::List),
        ("PUT", [key, "scheduled-jobs", "batch-reserve"]) => (key, StackCall::Reserve),
        ("POST", [key, "jobs", "get-states"]) => (key, StackCall::GetStates),
        ("GET", [key, "jobs", job]) => (key, StackCall::GetJob(job)),
        ("POST", [key, "jobs", job, "finish"]) => (key, StackCall::Finish(job)),
        ("POST", [key, "notifications"]) => (key, StackCall::Notify),
        ("POST", [key, "job-acquisition-tokens"]) => (key, StackCall::AcquisitionTokens),
        _ => return None,
    };
    Some(Call::Stack(Some((*key).to_owned()), call))
}

fn job_call<'a>(method: &str, segments: &[&'a str]) -> Option<JobCall<'a>> {
    Some(match (method, segments) {
        ("GET", []) => JobCall::Get,
        ("PUT", []) => JobCall::Update,
        ("PUT", ["acquire"]) => JobCall::Acquire,
        ("PUT", ["start"]) => JobCall::Start,
        ("PUT", ["finish"]) => JobCall::Finish,
        ("POST", ["chunks"]) => JobCall::Chunk,
        ("POST", ["header_times"]) => JobCall::HeaderTimes,
        ("POST", ["annotations"]) => JobCall::Annotate,
        ("DELETE", ["annotations", context]) => JobCall::RemoveAnnotation(context),
        ("POST", ["data", name]) => JobCall::Data(DataCall::read(name)?),
        ("POST", ["artifacts"]) => JobCall::CreateArtifacts,
        ("PUT", ["artifacts"]) => JobCall::UpdateArtifacts,
        ("POST", ["pipelines"]) => JobCall::Upload,
        ("GET", ["pipelines", upload]) => JobCall::UploadState(upload),
        ("POST", ["oidc", "tokens"]) => JobCall::Oidc,
        ("GET", ["secrets"]) => JobCall::Secret,
        ("PUT", ["promise_failure"]) => JobCall::PromiseFailure,
        ("POST", ["repository_access_token"]) => JobCall::RepositoryToken,
        _ => return None,
    })
}
