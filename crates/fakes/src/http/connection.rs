//! One listener, its connections, and the life of one call.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::event::Host;
use crate::http::body::{self, Body};
use crate::http::reply::Plan;
use crate::http::shared::Shared;
use crate::http::site::Site;
use crate::http::task;
use crate::wire::{Outcome, Request, Response, parse_query};

/// Serves one site on one listener until cancelled. Connections end with it.
pub async fn listen(listener: TcpListener, shared: Shared, site: Arc<dyn Site>, cancel: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let (shared, site, cancel) = (shared.clone(), site.clone(), cancel.clone());
                task::spawn("connection", async move {
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => {}
                        () = Box::pin(serve_connection(stream, peer, shared, site)) => {}
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: the next accept may do better.
                debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, shared: Shared, site: Arc<dyn Site>) {
    let lost = Arc::new(AtomicBool::new(false));
    let flag = lost.clone();
    let service = service_fn(move |request| {
        let (shared, site, flag) = (shared.clone(), site.clone(), flag.clone());
        Box::pin(async move {
            let reply = answer(request, peer, &shared, site.as_ref()).await;
            if reply.is_err() {
                flag.store(true, Ordering::Relaxed);
            }
            reply
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
    let stream = connection.into_parts().io.into_inner();
    if lost.load(Ordering::Relaxed) {
        // Closing with no linger sends a reset, as a machine that vanished would.
        let _ = stream.set_zero_linger();
    } else {
        let mut stream = stream;
        let _ =
            std::future::poll_fn(|cx| tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut stream), cx)).await;
    }
}

/// One call. An error makes hyper drop the connection without a reply.
async fn answer(
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    shared: &Shared,
    site: &dyn Site,
) -> Result<hyper::Response<Body>, io::Error> {
    let request = read(request, peer).await?;
    if site.host().is_none()
        && let Some(after) = follow_from(&request)
    {
        return Ok(follow(shared, after));
    }
    let (plan, response) = match site.host() {
        Some(host) => call(shared, site, host, &request).await,
        None => {
            let caller = request.caller();
            let outcome = shared.with(Some(&caller), |world, now, out| {
                site.handle(world, now, &request, out)
            });
            (Plan::default(), settle(shared, site, &caller, outcome).await)
        }
    };
    if let Some(delay) = plan.delay {
        tokio::time::sleep(delay).await;
    }
    if plan.lost {
        return Err(io::Error::other("reply lost by a fault"));
    }
    Ok(to_hyper(response, plan.truncated))
}

async fn call(shared: &Shared, site: &dyn Site, host: Host, request: &Request) -> (Plan, Response) {
    let caller = request.caller();
    let method = site.method_of(request);
    let (mut plan, outcome) = shared.with(Some(&caller), |world, now, out| {
        let mut plan = Plan::draw(&mut world.faults, now, host, &method, request, out);
        if let Some(instead) = plan.instead.take() {
            return (plan, Outcome::Now(instead));
        }
        let mut outcome = site.handle(world, now, request, out);
        if plan.duplicate {
            outcome = site.handle(world, now, request, out);
        }
        (plan, outcome)
    });
    plan.duplicate = false;
    (plan, settle(shared, site, &caller, outcome).await)
}

/// Waits for the answer of a held call.
async fn settle(shared: &Shared, site: &dyn Site, caller: &str, outcome: Outcome) -> Response {
    let (key, until) = match outcome {
        Outcome::Now(response) => return response,
        Outcome::Hold { key, until } => (key, until),
    };
    let mut grown = shared.grown();
    loop {
        grown.mark_unchanged();
        let last = shared.clock().now().since_start >= until;
        let answer = shared.with(Some(caller), |world, now, out| {
            site.held(world, now, &key, last, out)
        });
        match answer {
            Some(response) => return response,
            None if last => return Response::message(500, "a held call found no answer"),
            None => {}
        }
        tokio::select! {
            biased;
            _ = grown.changed() => {}
            () = shared.clock().sleep_until(until) => {}
        }
    }
}

async fn read(request: hyper::Request<Incoming>, peer: SocketAddr) -> Result<Request, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    Ok(Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parse_query(parts.uri.query().unwrap_or_default()),
        headers,
        body,
        peer: peer.to_string(),
    })
}

fn to_hyper(response: Response, truncated: bool) -> hyper::Response<Body> {
    let mut reply = hyper::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        reply = reply.header(name, value);
    }
    let body = if truncated {
        reply = reply.header("content-length", response.body.len());
        body::halved(&response.body)
    } else {
        body::whole(response.body)
    };
    reply.body(body).unwrap_or_else(|error| {
        let mut reply = hyper::Response::new(body::whole(error.to_string().into()));
        *reply.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        reply
    })
}

/// `GET /events?after=SEQ&follow=true`: where to begin.
fn follow_from(request: &Request) -> Option<u64> {
    let follows = request.method == "GET"
        && request.path == "/events"
        && matches!(request.query("follow"), Some("true" | "1" | ""));
    follows.then(|| {
        request
            .query("after")
            .and_then(|after| after.parse().ok())
            .unwrap_or(0)
    })
}

/// The log from `after` on, without end.
fn follow(shared: &Shared, mut after: u64) -> hyper::Response<Body> {
    let (sender, body) = body::streamed();
    let shared = shared.clone();
    task::spawn("follow the log", async move {
        let mut grown = shared.grown();
        loop {
            grown.mark_unchanged();
            let text = shared.with(None, |world, _, _| {
                let (text, next) = world.log.text_after(after, 1000);
                after = next;
                text
            });
            if text.is_empty() {
                tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    changed = grown.changed() => if changed.is_err() { return },
                }
                continue;
            }
            if sender
                .send(Ok(hyper::body::Frame::data(text.into())))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let mut reply = hyper::Response::new(body);
    reply.headers_mut().insert(
        "content-type",
        hyper::header::HeaderValue::from_static("application/x-ndjson"),
    );
    reply
}
