//! Watches that survive a change of leader: they begin again, and say so.

use std::time::Duration;

use gust_proto::v1::{
    self, watch_jobs_response::Event as JobEvent, watch_machines_response::Event as MachineEvent,
};
use tonic::{Code, Status, Streaming};

use super::{
    Session,
    args::{JobsArgs, MachinesArgs},
    client::refused,
    job_filter, json, machine_filter, print, show,
};
use crate::failure::Failure;

/// Between two tries to begin again.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn jobs(session: &Session, args: JobsArgs) -> Result<(), Failure> {
    let request = v1::WatchJobsRequest {
        filter: Some(job_filter(&args)),
    };
    let begin = async || {
        let mut client = session.client.clone();
        client.watch_jobs(request.clone()).await
    };
    follow(begin, |message: v1::WatchJobsResponse| {
        if args.output.json {
            return json::line("WatchJobsResponse", &message);
        }
        let now = json::now();
        Ok(match message.event {
            Some(JobEvent::Put(job)) => show::job_change('+', &job, now),
            Some(JobEvent::Removed(job)) => show::job_change('-', &job, now),
            Some(JobEvent::Synced(_)) => "-- these are all; changes follow\n".to_owned(),
            None => String::new(),
        })
    })
    .await
}

pub(super) async fn machines(session: &Session, args: MachinesArgs) -> Result<(), Failure> {
    let request = v1::WatchMachinesRequest {
        filter: Some(machine_filter(&args)),
    };
    let begin = async || {
        let mut client = session.client.clone();
        client.watch_machines(request.clone()).await
    };
    follow(begin, |message: v1::WatchMachinesResponse| {
        if args.output.json {
            return json::line("WatchMachinesResponse", &message);
        }
        let now = json::now();
        Ok(match message.event {
            Some(MachineEvent::Put(machine)) => show::machine_change('+', &machine, now),
            Some(MachineEvent::Removed(machine)) => show::machine_change('-', &machine, now),
            Some(MachineEvent::Synced(_)) => "-- these are all; changes follow\n".to_owned(),
            None => String::new(),
        })
    })
    .await
}

// Until the reader has gone, or the server refuses for a cause that does not pass.
async fn follow<T>(
    begin: impl AsyncFn() -> Result<tonic::Response<Streaming<T>>, Status>,
    text: impl Fn(T) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut was_there = false;
    loop {
        let broken = match begin().await {
            Ok(stream) => {
                was_there = true;
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => print(&text(message)?),
                        Ok(None) => break Status::unavailable("the stream ended"),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        let passes = matches!(
            broken.code(),
            Code::Unavailable | Code::Aborted | Code::Unknown | Code::Internal
        );
        // What never worked is told at once: an address may be wrong.
        if !(passes && was_there) {
            return Err(refused(broken));
        }
        crate::output::note(&format!(
            "the watch broke ({}); it begins again",
            broken.message()
        ));
        tokio::time::sleep(PAUSE).await;
    }
}
