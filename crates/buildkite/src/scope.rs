//! The calls of the Stacks API as the rate limiter and the messages name them.

use std::time::Duration;

/// A call to Buildkite. It counts those of the Stacks API in a window of a second each, per stack key; those of the GraphQL
/// and of the REST API for the whole organization, over minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `GET /token`.
    Token,
    /// `POST /stacks/register`.
    Register,
    /// `POST /stacks/:key/deregister`.
    Deregister,
    /// `GET /stacks/:key/scheduled-jobs`.
    List,
    /// `PUT /stacks/:key/scheduled-jobs/batch-reserve`.
    Reserve,
    /// `GET /stacks/:key/jobs/:uuid`.
    ShowJob,
    /// `POST /stacks/:key/jobs/get-states`.
    States,
    /// `POST /stacks/:key/jobs/:uuid/finish`.
    Finish,
    /// `POST /stacks/:key/notifications`.
    Notify,
    /// `POST /stacks/:key/job-acquisition-tokens`.
    AcquisitionTokens,
    /// GraphQL: scheduled jobs, and what gust plans by.
    GraphqlJobs,
    /// GraphQL: where jobs stand.
    GraphqlStates,
    /// GraphQL: `jobTypeCommandCancel`.
    GraphqlCancel,
    /// REST: `POST …/jobs/:uuid/annotations`, or of the build.
    RestAnnotate,
}

/// What a repeat of a call does, which decides whether the client may repeat it on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Reads only.
    Read,
    /// Writes, and a second time comes to the same.
    Repeatable,
    /// A second time would do more, so only the caller may decide to repeat.
    Once,
}

impl Scope {
    /// Calls a second that gust allows itself before any reply has told the true limit.
    ///
    /// The figures are the documented defaults (`https://buildkite.com/docs/apis/agent-api/stacks`, rate
    /// limits), except: listing stays at 8 of 10, so that a predecessor's last polls and a person's tools
    /// never push the stack over; calls without a documented limit get 10.
    pub fn default_per_second(self) -> u32 {
        match self {
            Self::List => 8,
            // Without bursts; over minutes the replies' headers pace them.
            Self::GraphqlJobs | Self::GraphqlStates | Self::GraphqlCancel => 8,
            Self::RestAnnotate => 2,
            Self::Token | Self::Register | Self::Deregister | Self::Reserve | Self::AcquisitionTokens => 10,
            Self::States => 20,
            Self::Finish => 100,
            Self::Notify => 200,
            Self::ShowJob => 1000,
        }
    }

    /// The name in logs, errors and metrics, the same as in the event log of the fakes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token.get",
            Self::Register => "stacks.register",
            Self::Deregister => "stacks.deregister",
            Self::List => "stacks.list",
            Self::Reserve => "stacks.reserve",
            Self::ShowJob => "stacks.get-job",
            Self::States => "stacks.get-states",
            Self::Finish => "stacks.finish",
            Self::Notify => "stacks.notify",
            Self::AcquisitionTokens => "stacks.acquisition-tokens",
            Self::GraphqlJobs => "graphql.jobs",
            Self::GraphqlStates => "graphql.states",
            Self::GraphqlCancel => "graphql.cancel",
            Self::RestAnnotate => "rest.annotate",
        }
    }

    /// The call in words, for messages that people read.
    pub fn words(self) -> &'static str {
        match self {
            Self::Token => "identify token",
            Self::Register => "register stack",
            Self::Deregister => "deregister stack",
            Self::List => "list scheduled jobs",
            Self::Reserve => "reserve jobs",
            Self::ShowJob => "get job",
            Self::States => "get job states",
            Self::Finish => "finish job",
            Self::Notify => "send notifications",
            Self::AcquisitionTokens => "issue job acquisition tokens",
            Self::GraphqlJobs => "list scheduled jobs",
            Self::GraphqlStates => "get job states",
            Self::GraphqlCancel => "cancel job",
            Self::RestAnnotate => "annotate job",
        }
    }

    /// How long one exchange may take, reply included.
    pub(crate) fn time_limit(self) -> Duration {
        match self {
            // Deregistering is a courtesy at shutdown.
            Self::Deregister => Duration::from_secs(5),
            // Up to a thousand jobs a page.
            Self::List | Self::Reserve | Self::States | Self::GraphqlJobs | Self::GraphqlStates => {
                Duration::from_secs(20)
            }
            _ => Duration::from_secs(15),
        }
    }

    /// True if the headers of a reply speak of a window of minutes that is shared by all calls to that API, and by others'.
    pub(crate) fn is_paced(self) -> bool {
        matches!(
            self,
            Self::GraphqlJobs | Self::GraphqlStates | Self::GraphqlCancel | Self::RestAnnotate
        )
    }

    pub(crate) fn effect(self) -> Effect {
        match self {
            Self::Token
            | Self::List
            | Self::ShowJob
            | Self::States
            | Self::GraphqlJobs
            | Self::GraphqlStates => Effect::Read,
            // A job finished twice answers 422 the second time, which `Client::finish` understands.
            // An annotation replaces the one before, and a job that is canceled stays so.
            Self::Register
            | Self::Deregister
            | Self::Reserve
            | Self::Finish
            | Self::GraphqlCancel
            | Self::RestAnnotate => Effect::Repeatable,
            // A repeated notification shows twice; a repeated token call makes a second token.
            Self::Notify | Self::AcquisitionTokens => Effect::Once,
        }
    }
}
