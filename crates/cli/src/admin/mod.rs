//! Commands that talk to a running gust.

pub(crate) mod args;
mod client;
mod json;
mod show;
mod watch;

use std::{future::Future, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use gust_proto::v1::{self, place::Place as PlaceKind};

use self::{
    args::{
        AdminCommand, CancelArgs, Connection, JobArgs, JobPhaseArg, JobsArgs, MachinePhaseArg, MachinesArgs,
        NoteArgs, Output, PlaceArgs, PlaceOnly,
    },
    client::{Client, connect, refused, within},
};
use crate::{exit_codes, failure::Failure};

/// Most entries of one page of a list.
const PAGE: u32 = 1000;

/// Runs one of the commands.
pub(crate) fn run(command: AdminCommand) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let connection = command.connection().clone();
        let session = Session {
            client: connect(&connection).await?,
            connection,
        };
        session.run(command).await?;
        Ok(ExitCode::from(exit_codes::SUCCESS))
    })
}

/// Asks a running gust how a request stands, and prints that.
pub(crate) fn explain(
    connection: &Connection,
    request: v1::ExplainRequest,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let session = Session {
            client: connect(connection).await?,
            connection: connection.clone(),
        };
        let found = session
            .ask(request, async |mut client, request| client.explain(request).await)
            .await?;
        let output = Output {
            json,
            connection: connection.clone(),
        };
        answer(&output, "ExplainResponse", &found, || {
            show::choices(&found, limit)
        })
    })
}

struct Session {
    client: Client,
    connection: Connection,
}

/// Prints data. A reader that has gone wants no more of it.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn answer<T: prost::Message>(
    output: &Output,
    name: &str,
    message: &T,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if output.json {
        print(&json::pretty(name, message)?);
    } else {
        print(&text());
    }
    Ok(())
}

impl Session {
    async fn run(self, command: AdminCommand) -> Result<(), Failure> {
        match command {
            AdminCommand::Status(output) => self.status(output).await,
            AdminCommand::Jobs(args) if args.watch => watch::jobs(&self, args).await,
            AdminCommand::Jobs(args) => self.jobs(args).await,
            AdminCommand::Job(args) => self.job(args).await,
            AdminCommand::Machines(args) if args.watch => watch::machines(&self, args).await,
            AdminCommand::Machines(args) => self.machines(args).await,
            AdminCommand::Cancel(args) => self.cancel(args).await,
            AdminCommand::Pause(args) => self.pause(args).await,
            AdminCommand::Resume(output) => self.resume(output).await,
            AdminCommand::Cordon(args) => self.cordon(args, false).await,
            AdminCommand::Drain(args) => self.cordon(args, true).await,
            AdminCommand::Uncordon(args) => self.uncordon(args).await,
        }
    }

    // One call, its answer without its envelope.
    async fn ask<T, A>(
        &self,
        message: T,
        call: impl AsyncFnOnce(Client, tonic::Request<T>) -> Result<tonic::Response<A>, tonic::Status>,
    ) -> Result<A, Failure> {
        let request = within(&self.connection, message);
        let answer = call(self.client.clone(), request).await.map_err(refused)?;
        Ok(answer.into_inner())
    }

    async fn status(&self, output: Output) -> Result<(), Failure> {
        let status = self
            .ask(v1::GetStatusRequest {}, async |mut client, request| {
                client.get_status(request).await
            })
            .await?;
        let now = json::now();
        answer(&output, "GetStatusResponse", &status, || {
            show::status(&status, now)
        })
    }

    async fn jobs(&self, args: JobsArgs) -> Result<(), Failure> {
        let (limit, filter) = (args.limit.unwrap_or(usize::MAX), job_filter(&args));
        let fetch = async |token: String, size: u32| {
            let request = v1::ListJobsRequest {
                filter: Some(filter.clone()),
                page_size: size,
                page_token: token,
            };
            let page = self
                .ask(request, async |mut client, request| {
                    client.list_jobs(request).await
                })
                .await?;
            Ok((page.jobs, page.next_page_token))
        };
        let jobs = all(limit, fetch).await?;
        let now = json::now();
        let list = v1::ListJobsResponse {
            jobs,
            next_page_token: String::new(),
        };
        answer(&args.output, "ListJobsResponse", &list, || {
            show::jobs(&list.jobs, now)
        })
    }

    async fn machines(&self, args: MachinesArgs) -> Result<(), Failure> {
        let (limit, filter) = (args.limit.unwrap_or(usize::MAX), machine_filter(&args));
        let fetch = async |token: String, size: u32| {
            let request = v1::ListMachinesRequest {
                filter: Some(filter.clone()),
                page_size: size,
                page_token: token,
            };
            let page = self
                .ask(request, async |mut client, request| {
                    client.list_machines(request).await
                })
                .await?;
            Ok((page.machines, page.next_page_token))
        };
        let machines = all(limit, fetch).await?;
        let now = json::now();
        let list = v1::ListMachinesResponse {
            machines,
            next_page_token: String::new(),
        };
        answer(&args.output, "ListMachinesResponse", &list, || {
            show::machines(&list.machines, now)
        })
    }

    async fn job(&self, args: JobArgs) -> Result<(), Failure> {
        let request = v1::GetJobRequest { id: args.id };
        let job = self
            .ask(request, async |mut client, request| client.get_job(request).await)
            .await?;
        let now = json::now();
        answer(&args.output, "GetJobResponse", &job, || show::job(&job, now))
    }

    async fn cancel(&self, args: CancelArgs) -> Result<(), Failure> {
        let request = v1::CancelJobRequest {
            id: args.id,
            note: args.note,
        };
        let canceled = self
            .ask(request, async |mut client, request| {
                client.cancel_job(request).await
            })
            .await?;
        answer(&args.output, "CancelJobResponse", &canceled, || {
            let job = canceled.job.clone().unwrap_or_default();
            format!(
                "job {} is being finished in Buildkite: {}\n",
                job.id, job.outcome_detail
            )
        })
    }

    async fn pause(&self, args: NoteArgs) -> Result<(), Failure> {
        let request = v1::PauseRequest { note: args.note };
        let paused = self
            .ask(request, async |mut client, request| client.pause(request).await)
            .await?;
        answer(&args.output, "PauseResponse", &paused, || {
            "paused: no machine is made until `gust resume`\n".to_owned()
        })
    }

    async fn resume(&self, output: Output) -> Result<(), Failure> {
        let resumed = self
            .ask(v1::ResumeRequest {}, async |mut client, request| {
                client.resume(request).await
            })
            .await?;
        answer(&output, "ResumeResponse", &resumed, || {
            if resumed.was_paused {
                "resumed\n"
            } else {
                "gust was not paused\n"
            }
            .to_owned()
        })
    }

    async fn cordon(&self, args: PlaceArgs, drain: bool) -> Result<(), Failure> {
        let request = v1::CordonRequest {
            place: Some(place(&args.place)?),
            drain,
            note: args.note,
        };
        let cordoned = self
            .ask(request, async |mut client, request| client.cordon(request).await)
            .await?;
        answer(&args.output, "CordonResponse", &cordoned, || {
            let machines = cordoned.cordon.as_ref().map_or(0, |cordon| cordon.machines);
            let word = if drain { "draining" } else { "cordoned" };
            format!(
                "{word} {}: {machines} machines are there or on their way\n",
                args.place
            )
        })
    }

    async fn uncordon(&self, args: PlaceOnly) -> Result<(), Failure> {
        let request = v1::UncordonRequest {
            place: Some(place(&args.place)?),
        };
        let uncordoned = self
            .ask(request, async |mut client, request| {
                client.uncordon(request).await
            })
            .await?;
        answer(&args.output, "UncordonResponse", &uncordoned, || {
            if uncordoned.was_cordoned {
                format!("{} is in service again\n", args.place)
            } else {
                format!("{} was in service\n", args.place)
            }
        })
    }
}

/// All pages of a list, up to so many entries.
async fn all<T, F>(limit: usize, fetch: impl Fn(String, u32) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<(Vec<T>, String), Failure>>,
{
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let wanted = u32::try_from(limit.saturating_sub(all.len())).unwrap_or(PAGE);
        if wanted == 0 {
            return Ok(all);
        }
        let (page, next) = fetch(token, wanted.min(PAGE)).await?;
        all.extend(page);
        if next.is_empty() {
            return Ok(all);
        }
        token = next;
    }
}

fn place(text: &str) -> Result<v1::Place, Failure> {
    let place = match text.split_once('/') {
        Some((project, region)) if !project.is_empty() && !region.is_empty() => {
            PlaceKind::Shard(v1::ShardRef {
                project: project.to_owned(),
                region: region.to_owned(),
            })
        }
        // Zones have hyphens, families have none.
        None if text.contains('-') && !text.contains('@') => PlaceKind::Zone(text.to_owned()),
        None if !text.is_empty() => {
            let (family, zone) = text.split_once('@').unwrap_or((text, ""));
            PlaceKind::Family(v1::FamilyRef {
                family: family.to_owned(),
                zone: zone.to_owned(),
            })
        }
        _ => {
            let error = anyhow::anyhow!("`{text}` is no place");
            return Err(Failure::new(exit_codes::USAGE, error).hint(
                "write <project>/<region>, a zone such as us-central1-a, or a family: n2d, n2d@us-central1-a",
            ));
        }
    };
    Ok(v1::Place { place: Some(place) })
}

fn job_filter(args: &JobsArgs) -> v1::JobFilter {
    let mut filter = v1::JobFilter {
        source: String::new(),
        queue: args.queue.clone().unwrap_or_default(),
        pipeline: args.pipeline.clone().unwrap_or_default(),
        build: args.build.unwrap_or(0),
        phase: 0,
        reason_kind: args.reason.clone().unwrap_or_default(),
    };
    filter.set_phase(match args.phase {
        None => v1::JobPhase::Unspecified,
        Some(JobPhaseArg::Waiting) => v1::JobPhase::Waiting,
        Some(JobPhaseArg::Refusing) => v1::JobPhase::Refusing,
        Some(JobPhaseArg::Claimed) => v1::JobPhase::Claimed,
    });
    filter
}

fn machine_filter(args: &MachinesArgs) -> v1::MachineFilter {
    let mut filter = v1::MachineFilter {
        project: args.project.clone().unwrap_or_default(),
        region: args.region.clone().unwrap_or_default(),
        zone: args.zone.clone().unwrap_or_default(),
        phase: 0,
    };
    filter.set_phase(match args.phase {
        None => v1::MachinePhase::Unspecified,
        Some(MachinePhaseArg::Creating) => v1::MachinePhase::Creating,
        Some(MachinePhaseArg::Booting) => v1::MachinePhase::Booting,
        Some(MachinePhaseArg::Claimed) => v1::MachinePhase::Claimed,
        Some(MachinePhaseArg::Deleting) => v1::MachinePhase::Deleting,
    });
    filter
}
