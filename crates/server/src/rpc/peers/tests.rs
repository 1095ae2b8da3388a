//! Two ends of a connection between replicas, with certificates of one authority and of another.

use gust_core::{
    ids::Term,
    ports::{Event, LeaseId},
    time::Timestamp,
};
use gust_proto::v1::worker_service_server::WorkerServiceServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::*;
use crate::{
    clock::Clock,
    replica::Held,
    rpc::WorkerRpc,
    task::{Dice, Tasks},
    testing::ToldStore,
    worker::{Membership, Pace, Worker},
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// A certificate of `signer`; what it trusts is `trusted`.
fn tls(signer: &Authority, trusted: &Authority) -> PeerTls {
    tls_until(2999, signer, trusted)
}

/// One that is good until the first day of a year.
fn tls_until(year: i32, signer: &Authority, trusted: &Authority) -> PeerTls {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = params.signed_by(&key, signer).expect("a certificate");
    PeerTls {
        certificate: certificate.pem(),
        key: Secret::new(key.serialize_pem()),
        authority: trusted.pem(),
    }
}

/// A worker that is a member, served behind `tls`.
async fn worker(tls: &PeerTls, tasks: &Tasks) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let clock = Clock::starting_at(Timestamp(0));
    let store = Arc::new(ToldStore::default());
    let (name, dice) = (ReplicaId::new("b"), Dice::seeded(1));
    let worker = Worker::new(
        name,
        store,
        Default::default(),
        clock.clone(),
        dice,
        Pace::default(),
        tasks,
    );
    worker.admit(Membership {
        lease: LeaseId(1),
        held: Held::always(&clock),
    });
    let address = listener.local_addr().expect("it is bound").to_string();
    let server = Server::builder()
        .tls_config(tls.server())
        .expect("good certificates")
        .add_service(WorkerServiceServer::new(WorkerRpc::new(worker, tasks)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn("server", async move {
        let _ = server.await;
    });
    address
}

async fn open(tls: Option<PeerTls>, address: &str) -> Result<Session, LinkError> {
    let member = Member {
        replica: ReplicaId::new("b"),
        zone: String::new(),
        address: address.to_owned(),
        version: "1".to_owned(),
        config: "c".to_owned(),
    };
    let hello = Hello {
        term: Term(1),
        session: 1,
        leader: ReplicaId::new("a"),
        shards: Vec::new(),
    };
    PeerLinks::new(tls).to(&member).open(&hello).await
}

#[tokio::test]
async fn replicas_of_one_authority_talk_and_nobody_else_does() {
    // The first TLS configuration of a process asks for it; another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let tasks = Tasks::default();
    let (ours, theirs) = (authority(), authority());
    let address = worker(&tls(&ours, &ours), &tasks).await;
    let mut session = open(Some(tls(&ours, &ours)), &address).await.expect("one of us");
    assert!(matches!(session.events.next().await, Ok(Event::Ready { .. })));
    let strangers = [
        ("a certificate of another authority", Some(tls(&theirs, &ours))),
        (
            "an authority that did not sign the worker's",
            Some(tls(&ours, &theirs)),
        ),
        ("no encryption", None),
    ];
    for (what, stranger) in strangers {
        let refused = match open(stranger, &address).await {
            // TLS 1.3 lets a client speak before it hears that its certificate was refused.
            Ok(mut session) => session.events.next().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(
            matches!(refused, Err(LinkError::Down { .. })),
            "{what}: {refused:?}"
        );
    }
    tasks.stop().await;
}

#[tokio::test]
async fn a_member_whose_address_makes_no_sense_is_down() {
    let refused = open(None, "not an address").await;
    let Some(LinkError::Down { message, .. }) = refused.err() else {
        panic!("it was opened");
    };
    assert!(message.contains("not an address"), "{message}");
}

#[tokio::test]
async fn an_expired_certificate_is_named_and_its_replacement_works() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ours = authority();
    let (good, expired) = (tls(&ours, &ours), tls_until(2000, &ours, &ours));
    // The worker's own: the leader sees what is wrong.
    let first = Tasks::default();
    let address = worker(&expired, &first).await;
    let Err(LinkError::Down { message, .. }) = open(Some(good.clone()), &address).await else {
        panic!("it was opened");
    };
    assert!(message.to_lowercase().contains("expired"), "{message}");
    first.stop().await;
    let second = Tasks::default();
    let address = worker(&good, &second).await;
    // The leader's: it hears of it from the worker.
    let refused = match open(Some(expired), &address).await {
        Ok(mut session) => session.events.next().await.map(drop),
        Err(error) => Err(error),
    };
    let Err(LinkError::Down { message, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(message.to_lowercase().contains("expired"), "{message}");
    let mut session = open(Some(good), &address).await.expect("one of us");
    assert!(matches!(session.events.next().await, Ok(Event::Ready { .. })));
    second.stop().await;
}
