//! A metadata server as strict as Google's about its header.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch};

#[derive(Clone)]
pub struct FakeMetadata {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    machine: String,
    attributes: Mutex<BTreeMap<String, String>>,
    audiences: Mutex<Vec<String>>,
    failures: Mutex<u32>,
    preempted: watch::Sender<bool>,
    is_unheard: AtomicBool,
}

impl FakeMetadata {
    pub async fn start(machine: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(State {
                machine: machine.to_owned(),
                attributes: Mutex::default(),
                audiences: Mutex::default(),
                failures: Mutex::default(),
                preempted: watch::Sender::new(false),
                is_unheard: AtomicBool::new(false),
            }),
        };
        let state = Arc::clone(&fake.state);
        super::serve(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                super::serve(async move {
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(state.answer(request).await) }
                    });
                    // A guest that goes away is no failure of the fake.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        fake
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn set(&self, attribute: &str, value: &str) {
        let mut attributes = self.state.attributes.lock().unwrap();
        attributes.insert(attribute.to_owned(), value.to_owned());
    }

    pub fn remove(&self, attribute: &str) {
        self.state.attributes.lock().unwrap().remove(attribute);
    }

    /// The next answers are 503.
    pub fn fail(&self, times: u32) {
        *self.state.failures.lock().unwrap() = times;
    }

    pub fn preempt(&self) {
        self.state.preempted.send_replace(true);
    }

    /// As [`Self::preempt`], but whoever waits for the change does not hear of it: other news come first.
    pub fn preempt_unheard(&self) {
        self.state.is_unheard.store(true, Ordering::SeqCst);
        self.preempt();
    }

    /// Audiences that tokens were asked for.
    pub fn audiences(&self) -> Vec<String> {
        self.state.audiences.lock().unwrap().clone()
    }
}

impl State {
    async fn answer(&self, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        if request
            .headers()
            .get("metadata-flavor")
            .is_none_or(|v| v != "Google")
        {
            return reply(StatusCode::FORBIDDEN, "");
        }
        {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return reply(StatusCode::SERVICE_UNAVAILABLE, "");
            }
        }
        let path = request
            .uri()
            .path()
            .strip_prefix("/computeMetadata/v1/instance/")
            .unwrap_or_default();
        let query = request.uri().query().unwrap_or_default();
        match path {
            "name" => reply(StatusCode::OK, &self.machine),
            "preempted" => self.preempted(query).await,
            "service-accounts/default/identity" => {
                let audience = query
                    .strip_prefix("audience=")
                    .and_then(|rest| rest.strip_suffix("&format=full"))
                    .expect("audience and format, in full");
                self.audiences.lock().unwrap().push(audience.to_owned());
                reply(StatusCode::OK, &format!("token-for-{audience}"))
            }
            _ => match path
                .strip_prefix("attributes/")
                .and_then(|name| self.attribute(name))
            {
                Some(value) => reply(StatusCode::OK, &value),
                None => reply(StatusCode::NOT_FOUND, ""),
            },
        }
    }

    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.lock().unwrap().get(name).cloned()
    }

    async fn preempted(&self, query: &str) -> Response<Full<Bytes>> {
        let mut seen = self.preempted.subscribe();
        if query.contains("wait_for_change=true") {
            seen.wait_for(|preempted| *preempted)
                .await
                .expect("the fake lives on");
            if self.is_unheard.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
        }
        let value = if *seen.borrow() { "TRUE" } else { "FALSE" };
        let mut reply = reply(StatusCode::OK, value);
        reply.headers_mut().insert("etag", value.parse().unwrap());
        reply
    }
}

fn reply(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("Metadata-Flavor", "Google")
        .body(Full::new(Bytes::copy_from_slice(text.as_bytes())))
        .unwrap()
}
