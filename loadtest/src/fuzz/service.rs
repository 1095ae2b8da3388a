//! A service on loopback that answers gust's clients: first as the fakes do, to learn what real replies look like, then with
//! whatever it is given.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gust_fakes::{
    buildkite,
    config::Settings,
    event::Effects,
    gce, metadata,
    now::Now,
    wire::{Outcome, Request, Response, parse_query},
    world::World,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

/// Wall time of the fakes here.
pub(super) const STARTED_UNIX_NS: i128 = 1_800_000_000_000_000_000;

/// Headers that frame a reply, or that would lead a client elsewhere.
const KEPT_BACK: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "connection",
    "location",
    "upgrade",
];

/// Which of the fakes answers.
#[derive(Clone, Copy)]
pub(super) enum Host {
    Buildkite,
    Gce,
    /// The metadata server of the first machine there is.
    Metadata,
}

/// What it answers with.
struct Script {
    host: Host,
    world: World,
    /// Virtual time of the world.
    passed: Duration,
    /// What the fakes answered, in order; a mutated reply takes the place of one of these.
    recorded: Vec<Vec<u8>>,
    /// The reply in place, and in whose.
    mutated: Option<(Vec<u8>, usize)>,
    /// Requests since then.
    asked: usize,
}

/// The service, and the runtime of one thread on which it and its client take turns.
pub(super) struct Service {
    /// Where it is.
    pub url: String,
    runtime: Runtime,
    script: Arc<Mutex<Script>>,
}

impl Service {
    pub(super) fn start(host: Host) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let script = Arc::new(Mutex::new(Script {
            host,
            world: World::new(&Settings::default()),
            passed: Duration::ZERO,
            recorded: Vec::new(),
            mutated: None,
            asked: 0,
        }));
        runtime.spawn(listen(listener, script.clone()));
        Self { url, runtime, script }
    }

    /// Does something to the fakes' world.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut World, Now, &mut Effects) -> T) -> T {
        let mut script = lock(&self.script);
        let now = script.now();
        act(&mut script.world, now, &mut Effects::default())
    }

    /// Makes a call that the fakes answer.
    pub(super) fn really<T>(&self, call: impl Future<Output = T>) -> T {
        lock(&self.script).mutated = None;
        let done = self.runtime.block_on(call);
        self.later();
        done
    }

    /// The fakes' replies since the last time this was asked.
    pub(super) fn recorded(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut lock(&self.script).recorded)
    }

    /// Makes a call that meets a reply in place of one of those recorded.
    pub(super) fn mutated<T>(&self, reply: &[u8], recorded: &[Vec<u8>], call: impl Future<Output = T>) -> T {
        {
            let mut script = lock(&self.script);
            script.recorded = recorded.to_vec();
            script.asked = 0;
            script.mutated = Some((reply.to_vec(), reply.len() % recorded.len().max(1)));
        }
        let done = self.runtime.block_on(call);
        self.later();
        done
    }

    /// Half an hour passes, so that no client still waits for what a reply told it to.
    fn later(&self) {
        lock(&self.script).passed += Duration::from_secs(1);
        self.runtime.block_on(async {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(1800)).await;
            tokio::time::resume();
        });
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    fn now(&self) -> Now {
        Now::at(STARTED_UNIX_NS, self.passed)
    }

    fn answer(&mut self, request: &Request) -> Vec<u8> {
        let asked = self.asked;
        self.asked += 1;
        if let Some((reply, place)) = &self.mutated {
            let recorded = self.recorded.get(asked).filter(|_| asked != *place);
            return on_the_wire(recorded.unwrap_or(reply));
        }
        let text = sample(&self.really(request));
        let whole = on_the_wire(&text);
        self.recorded.push(text);
        whole
    }

    /// As the fakes answer; what is held is answered after a while, as it is then.
    fn really(&mut self, request: &Request) -> Response {
        let mut out = Effects::default();
        self.passed += Duration::from_secs(1);
        let now = self.now();
        let world = &mut self.world;
        world.tick(now, &mut out);
        let outcome = match self.host {
            Host::Buildkite => {
                buildkite::wire::handle(&mut world.buildkite, &mut world.faults, now, request, &mut out)
            }
            Host::Gce if request.path == "/oauth2/v3/certs" => {
                Outcome::Now(metadata::wire::handle_jwks(&world.metadata, request))
            }
            Host::Gce => gce::wire::handle(&mut world.gce, &mut world.faults, now, request, &mut out),
            Host::Metadata => {
                let instance = first_instance(&world.gce);
                let site = metadata::wire::Site {
                    model: &mut world.metadata,
                    gce: &mut world.gce,
                    faults: &mut world.faults,
                };
                metadata::wire::handle(site, instance, now, request, &mut out)
            }
        };
        match outcome {
            Outcome::Now(response) => response,
            Outcome::Hold { key, .. } => {
                self.passed += Duration::from_secs(300);
                let now = self.now();
                self.world.tick(now, &mut out);
                gce::wire::held(&self.world.gce, &key, true).unwrap_or_else(|| Response::empty(200))
            }
        }
    }
}

fn first_instance(gce: &gce::Model) -> u64 {
    gce.instances()
        .next()
        .map(|instance| instance.id)
        .unwrap_or_default()
}

/// A reply as text: status, headers, an empty line, the body. This form is what gets mutated.
fn sample(response: &Response) -> Vec<u8> {
    let mut text = format!("{}\n", response.status);
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    [text.as_bytes(), &response.body].concat()
}

/// Such a text as HTTP. The frame is always a good one, for what reads it is not ours; `x-cut` ends the body early.
fn on_the_wire(text: &[u8]) -> Vec<u8> {
    let at = text.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = at.map_or((&b""[..], text), |at| (&text[..at], &text[at + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse::<u16>().ok());
    let status = status.filter(|status| (200..600).contains(status)).unwrap_or(200);
    let is_bare = matches!(status, 204 | 304);
    let mut out = format!("HTTP/1.1 {status} Some\r\n");
    let mut cut = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: String = name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        cut |= name.eq_ignore_ascii_case("x-cut");
        if !name.is_empty() && !KEPT_BACK.contains(&name.to_ascii_lowercase().as_str()) {
            out.push_str(&format!("{name}: {}\r\n", value.trim()));
        }
    }
    if !is_bare {
        let length = body.len() + if cut { 10 } else { 0 };
        out.push_str(&format!("content-length: {length}\r\n"));
    }
    let close = if cut { "connection: close\r\n\r\n" } else { "\r\n" };
    out.push_str(close);
    let body = if is_bare { &[][..] } else { body };
    [out.as_bytes(), body].concat()
}

async fn listen(listener: TcpListener, script: Arc<Mutex<Script>>) {
    let runtime = tokio::runtime::Handle::current();
    while let Ok((stream, _)) = listener.accept().await {
        // A client that goes away in the middle is nothing to speak of.
        drop(runtime.spawn(serve(stream, script.clone())));
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    loop {
        let Some(request) = next_request(&mut stream, &mut read).await? else {
            return Ok(());
        };
        let reply = lock(&script).answer(&request);
        let close = reply.windows(19).any(|part| part == b"\r\nconnection: close");
        stream.write_all(&reply).await?;
        if close {
            return Ok(());
        }
    }
}

/// Reads one request of a client of ours, which frames its bodies by their length.
async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    loop {
        if let Some((request, length)) = whole(read) {
            read.drain(..length);
            return Ok(Some(request));
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

/// The request at the beginning of what was read, and its length, if it is there to its end.
fn whole(read: &[u8]) -> Option<(Request, usize)> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&read[..end]);
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or_default();
    let body = read.get(end..end + length)?.to_vec();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let request = Request {
        method,
        path: path.to_owned(),
        query: parse_query(query),
        headers,
        body: body.into(),
        peer: "127.0.0.1:1".to_owned(),
    };
    Some((request, end + length))
}
